// Threads, shapes and the yardstick of the Winograd gradients' benchmarks.

#ifndef TF_APPROXGRAD_CC_BENCHMARKS_CPU_WINOGRAD_TIMES_H_
#define TF_APPROXGRAD_CC_BENCHMARKS_CPU_WINOGRAD_TIMES_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/measuring.h"
#include "cc/benchmarks/multiply_adds.h"
#include "cc/common/geometry.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/winograd/plan.h"

namespace tf_approxgrad {

// Beside those of convolution_shapes.h.
inline constexpr ConvolutionShape kMoreShapes[] = {{128, 64, 64, 28, 3, 1}};

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

// Multiply-adds of the products.
inline double Products(const ConvGeometry& g) {
  const auto points = [](int64_t pixels) {
    const int64_t edge = pixels % kTilePixels;
    return pixels / kTilePixels * kPoints + (edge > 0 ? edge + 2 : 0);
  };
  return static_cast<double>(g.batch * points(g.out_rows) *
                             points(g.out_cols)) *
         static_cast<double>(g.in_depth * g.out_depth);
}

// What a call of a benchmark asks for: [threads [repeats [shape, from 0]]].
struct Request {
  Request(int argc, char** argv)
      : threads(argc > 1 ? std::max(1, std::atoi(argv[1])) : 1),
        repeats(argc > 2 ? std::max(1, std::atoi(argv[2])) : 9) {
    for (const auto& shape : kConvolutionShapes) {
      if (shape.filter == 3 && shape.stride == 1) shapes.push_back(shape);
    }
    for (const auto& shape : kMoreShapes) shapes.push_back(shape);
    if (argc > 3) {
      const size_t only =
          std::min<size_t>(std::atoi(argv[3]), shapes.size() - 1);
      shapes = {shapes[only]};
    }
  }

  // Prints the machine and the first columns of a table; returns the peak.
  double PrintHead() const {
    const InstructionSet set = ChosenInstructionSet();
    const double peak = Peak(set);
    std::printf(
        "%s, %d threads, float32 NHWC, least of %d; peak of a thread "
        "%.1f G multiply-adds/s\n",
        InstructionSetName(set).c_str(), threads, repeats, peak);
    std::printf("%34s %8s %9s %9s", "", "", "dense at", "products");
    return peak;
  }

  int threads;
  int repeats;
  std::vector<ConvolutionShape> shapes;
};

// The least time of some calls of compute(run_workers) in milliseconds: of the
// processor with one thread, so that a busy machine matters little, else on the
// clock.
template <typename Compute>
double LeastMilliseconds(const Request& request, Helpers* helpers,
                         const Compute& compute) {
  const auto now =
      request.threads == 1 ? &ThreadMilliseconds : &ClockMilliseconds;
  const RunWorkers run = [&](int64_t workers,
                             const std::function<void()>& work) {
    if (workers == 1) return work();
    helpers->Run(work);
  };
  double least = 1e9;
  for (int repeat = 0; repeat <= request.repeats; ++repeat) {
    const double start = now();
    compute(run);
    // The first call meets new pages.
    if (repeat > 0) least = std::min(least, now() - start);
  }
  return least;
}

// Prints the columns that PrintHead names.
inline void PrintTimes(const Request& request, double peak,
                       const ConvGeometry& g, double ms) {
  const double dense = static_cast<double>(g.batch * g.positions()) *
                       g.filter_size() * g.out_depth;
  const double all = peak * request.threads;
  std::printf(" %8.2f %8.2fx %8.0f%%", ms, dense * 1e-6 / all / ms,
              Products(g) * 1e-6 / all / ms * 100);
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_BENCHMARKS_CPU_WINOGRAD_TIMES_H_
