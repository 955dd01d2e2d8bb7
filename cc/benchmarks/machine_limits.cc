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

#include "cc/cpu/core/instruction_set.h"

namespace {

// Independent sums, enough to hide the latency of a multiply-add.
constexpr int kSums = 12;
constexpr int64_t kRounds = 20'000'000;
constexpr int64_t kCopiedBytes = int64_t{256} << 20;
constexpr int kRepeats = 5;

// One loop for each width of vector; returns something of the sums, so that no
// compiler leaves the loop out. Each sum starts from another value: of equal
// ones the compiler computes a single one.
#define DEFINE_MULTIPLY_ADDS(NAME, BYTES, TARGET)                        \
  TARGET __attribute__((noinline)) float NAME(int64_t rounds) {          \
    typedef float Vector __attribute__((vector_size(BYTES)));            \
    Vector sums[kSums];                                                  \
    const float seed = static_cast<float>(rounds % 7) * 1e-3f;           \
    for (int i = 0; i < kSums; ++i) {                                    \
      sums[i] = (seed + static_cast<float>(i)) - Vector{};               \
    }                                                                    \
    const Vector factor = (0.5f + seed) - Vector{};                      \
    for (int64_t round = 0; round < rounds; ++round) {                   \
      _Pragma("GCC unroll 12") for (int i = 0; i < kSums; ++i) sums[i] = \
          sums[i] * factor + factor;                                     \
    }                                                                    \
    float total = 0;                                                     \
    for (int i = 0; i < kSums; ++i) total += sums[i][0];                 \
    return total;                                                        \
  }

#if defined(__x86_64__)
DEFINE_MULTIPLY_ADDS(MultiplyAddsAvx512, 64,
                     __attribute__((target("avx512f,fma"))))
DEFINE_MULTIPLY_ADDS(MultiplyAddsAvx2, 32, __attribute__((target("avx2,fma"))))
#endif
DEFINE_MULTIPLY_ADDS(MultiplyAddsBaseline, 16, )

struct Loop {
  float (*run)(int64_t rounds);
  int lanes;
};

Loop LoopFor(tf_approxgrad::InstructionSet instruction_set) {
  switch (instruction_set) {
#if defined(__x86_64__)
    case tf_approxgrad::InstructionSet::kAvx512:
      return {&MultiplyAddsAvx512, 16};
    case tf_approxgrad::InstructionSet::kAvx2:
      return {&MultiplyAddsAvx2, 8};
#endif
    default:
      return {&MultiplyAddsBaseline, 4};
  }
}

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
  const Loop loop = LoopFor(instruction_set);
  std::vector<float> sums(threads);
  const double loop_seconds =
      Fastest(threads, [&](int thread) { sums[thread] = loop.run(kRounds); });
  const double multiply_adds =
      static_cast<double>(kRounds) * kSums * loop.lanes * threads;

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
