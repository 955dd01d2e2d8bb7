// What this machine can do at most, for the bounds of the benchmarks: the
// bandwidth of a copy and the rate of fused multiply-adds, with as many threads
// as the first argument says. Prints JSON.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "cc/benchmarks/multiply_adds.h"
#include "cc/cpu/core/instruction_set.h"

namespace {

constexpr int64_t kRounds = 20'000'000;
constexpr int64_t kCopiedBytes = int64_t{256} << 20;
constexpr int kRepeats = 5;

// Seconds of the fastest repeat of `work`, done by each thread at once.
double Fastest(int threads, const std::function<void(int)>& work) {
  double fastest = 1e9;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> running;
    for (int thread = 0; thread < threads; ++thread) {
      running.emplace_back(work, thread);
    }
    for (std::thread& thread : running) thread.join();
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    fastest = std::min(fastest, seconds.count());
  }
  return fastest;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  const auto instruction_set = tf_approxgrad::ChosenInstructionSet();
  const auto loop = tf_approxgrad::MultiplyAddLoopFor(instruction_set);
  std::vector<float> sums(threads);
  const double loop_seconds =
      Fastest(threads, [&](int thread) { sums[thread] = loop.run(kRounds); });
  const double multiply_adds = loop.multiply_adds(kRounds) * threads;

  const int64_t part = kCopiedBytes / threads;
  const std::unique_ptr<char[]> from(new char[kCopiedBytes]);
  const std::unique_ptr<char[]> to(new char[kCopiedBytes]);
  std::memset(from.get(), 1, kCopiedBytes);
  std::memset(to.get(), 2, kCopiedBytes);
  const double copy_seconds = Fastest(threads, [&](int thread) {
    std::memcpy(to.get() + thread * part, from.get() + thread * part, part);
  });
  const double copied = 2.0 * static_cast<double>(part) * threads;

  std::printf(
      "{\"threads\": %d, \"instruction_set\": \"%s\", \"bytes_per_second\": "
      "%.4g, "
      "\"multiply_adds_per_second\": %.4g}\n",
      threads, tf_approxgrad::InstructionSetName(instruction_set).c_str(),
      copied / copy_seconds, multiply_adds / loop_seconds);
  // Reads what was computed.
  return sums[0] == to[0] ? 1 : 0;
}
