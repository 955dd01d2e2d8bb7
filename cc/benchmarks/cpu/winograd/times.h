// Shapes and the yardstick of the Winograd gradients' benchmarks.

#ifndef TF_APPROXGRAD_CC_BENCHMARKS_CPU_WINOGRAD_TIMES_H_
#define TF_APPROXGRAD_CC_BENCHMARKS_CPU_WINOGRAD_TIMES_H_

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/cpu/threads.h"
#include "cc/benchmarks/measuring.h"
#include "cc/common/geometry.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/winograd/plan.h"

namespace tf_approxgrad {

// Beside those of convolution_shapes.h.
inline constexpr ConvolutionShape kMoreShapes[] = {{128, 64, 64, 28, 3, 1}};

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
