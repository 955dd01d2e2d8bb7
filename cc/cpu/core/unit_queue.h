// Units of work for as many threads as come, whenever they come.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_UNIT_QUEUE_H_
#define TF_APPROXGRAD_CC_CPU_CORE_UNIT_QUEUE_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

namespace tf_approxgrad {

// Calls `work` at least once and at most `workers` times, at the same time or
// one after the other, on any threads, and returns when all calls have.
using RunWorkers =
    std::function<void(int64_t workers, const std::function<void()>& work)>;

// Ranges of units that a worker takes in a phase of many small ones.
constexpr int64_t kRangesOfWorker = 8;

// One phase of a computation. Waking a thread takes longer than some phases, so
// a thread pool's barrier between phases would pay for that every time.
// Here every thread goes through all phases by itself: it takes units while
// there are any, then waits for those that other threads have taken. A thread
// that comes late, or never, holds nobody up.
class UnitQueue {
 public:
  // Units are taken `grain` at a time.
  UnitQueue(int64_t units, int64_t grain)
      : units_(units), grain_(std::max<int64_t>(grain, 1)) {}

  // Calls work(begin, end) for ranges that no thread has taken, and returns
  // when the whole phase is done, with all that it wrote to be seen.
  template <typename Work>
  void Run(const Work& work) {
    for (;;) {
      const int64_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
      if (begin >= units_) break;
      const int64_t end = std::min(begin + grain_, units_);
      work(begin, end);
      done_.fetch_add(end - begin, std::memory_order_release);
    }
    for (int spins = 0; done_.load(std::memory_order_acquire) < units_;) {
      if (++spins < kSpins) {
        Pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

 private:
  // Some tens of microseconds, as long as most units take.
  static constexpr int kSpins = 1000;

  static void Pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  const int64_t units_;
  const int64_t grain_;
  // On lines of their own: both are written by every thread.
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int64_t> done_{0};
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_UNIT_QUEUE_H_
