// Threads for the CPU benchmarks, and the rate that a thread reaches at most.

#ifndef TF_APPROXGRAD_CC_BENCHMARKS_CPU_THREADS_H_
#define TF_APPROXGRAD_CC_BENCHMARKS_CPU_THREADS_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "cc/benchmarks/measuring.h"
#include "cc/benchmarks/multiply_adds.h"
#include "cc/cpu/core/instruction_set.h"

namespace tf_approxgrad {

// Threads that spin while they wait, so that waking them costs nothing.
class Helpers {
 public:
  explicit Helpers(int count) {
    for (int i = 0; i < count; ++i) threads_.emplace_back([this] { Serve(); });
  }
  ~Helpers() {
    Call(nullptr);
    for (std::thread& thread : threads_) thread.join();
  }
  void Run(const std::function<void()>& work) {
    done_.store(0);
    Call(&work);
    work();
    while (done_.load() < static_cast<int>(threads_.size())) {
    }
  }

 private:
  void Call(const std::function<void()>* work) {
    work_ = work;
    calls_.fetch_add(1);
  }
  void Serve() {
    for (int64_t call = 1;; ++call) {
      while (calls_.load() < call) {
      }
      if (work_ == nullptr) return;
      (*work_)();
      done_.fetch_add(1);
    }
  }

  std::vector<std::thread> threads_;
  const std::function<void()>* work_ = nullptr;
  std::atomic<int64_t> calls_{0};
  std::atomic<int> done_{0};
};

inline double ClockMilliseconds() {
  const std::chrono::duration<double, std::milli> now =
      std::chrono::steady_clock::now().time_since_epoch();
  return now.count();
}

// Multiply-adds a second of one thread, in thousands of millions.
inline double Peak(InstructionSet set) {
  constexpr int64_t kRounds = 2'000'000;
  const auto loop = MultiplyAddLoopFor(set);
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double start = ThreadMilliseconds();
    volatile float sum = loop.run(kRounds);
    (void)sum;
    best = std::max(best, loop.multiply_adds(kRounds) * 1e-6 /
                              (ThreadMilliseconds() - start));
  }
  return best;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_BENCHMARKS_CPU_THREADS_H_
