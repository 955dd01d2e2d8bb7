// Lets threads help with a piece of work as long as it lasts.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_WORKER_GATE_H_
#define TF_APPROXGRAD_CC_CPU_CORE_WORKER_GATE_H_

#include <atomic>
#include <cstdint>
#include <thread>

namespace tf_approxgrad {

// A thread that was asked for help may come after the work is done, because
// waking it takes as long as a small gradient. Waiting for it would double the
// time. So it has to pass the gate, which the owner of the work closes: whoever
// comes later finds it closed and must not touch anything but the gate, as the
// work's data may be gone.
class WorkerGate {
 public:
  // Whether the gate was open. The caller must then call Leave.
  bool Enter() {
    int64_t inside = inside_.load(std::memory_order_relaxed);
    while (inside != kClosed) {
      if (inside_.compare_exchange_weak(inside, inside + 1,
                                        std::memory_order_acquire)) {
        return true;
      }
    }
    return false;
  }

  void Leave() { inside_.fetch_sub(1, std::memory_order_release); }

  // Closes the gate as soon as nobody is inside. What those who left have
  // written is seen.
  void Close() {
    for (;;) {
      int64_t inside = 0;
      if (inside_.compare_exchange_weak(inside, kClosed,
                                        std::memory_order_acquire)) {
        return;
      }
      std::this_thread::yield();
    }
  }

 private:
  static constexpr int64_t kClosed = -1;
  std::atomic<int64_t> inside_{0};
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_WORKER_GATE_H_
