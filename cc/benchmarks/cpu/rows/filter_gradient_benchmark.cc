// Times the row-sampled method by itself, without TensorFlow, phase by phase.
//
//   filter_gradient_benchmark [share [threads [repeats [shape, from 0]]]]
//       [product] [keep_largest] [NCHW]
//
// "X" and "dY" are the squares of either, "draw" what else leads to the list of
// drawn rows, "of it limit" that of the largest rows, by one thread. The bound
// is the drawn share of a dense gradient at the peak of the multiply-add units.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/cpu/threads.h"
#include "cc/benchmarks/measuring.h"
#include "cc/common/geometry.h"
#include "cc/common/integer_math.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/rows/filter_gradient.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/rows/sampler.h"

namespace {

using tf_approxgrad::ConvGeometry;
using tf_approxgrad::ConvolutionShape;
using tf_approxgrad::InstructionSet;
using tf_approxgrad::Layout;
using tf_approxgrad::MakeValues;
using tf_approxgrad::RandomValues;
using tf_approxgrad::RowSampling;
using tf_approxgrad::UnitQueue;
using tf_approxgrad::Values;

// A half-width ResNet-18's, with strides and 1x1; then ResNet-50's other 1x1.
constexpr ConvolutionShape kMoreShapes[] = {
    {128, 32, 32, 28, 3, 1},  {128, 64, 64, 14, 3, 1},
    {128, 128, 128, 7, 3, 1}, {128, 256, 256, 4, 3, 1},
    {128, 32, 64, 28, 3, 2},  {128, 64, 128, 14, 3, 2},
    {128, 128, 256, 7, 3, 2}, {128, 32, 64, 28, 1, 2},
    {32, 512, 128, 28, 1, 1}, {32, 128, 512, 28, 1, 1},
    {32, 512, 2048, 7, 1, 1},
};

struct Request {
  Request(int argc, char** argv) {
    std::vector<const char*> numbers;
    for (int i = 1; i < argc; ++i) {
      const auto is = [&](const char* text) {
        return std::strcmp(argv[i], text) == 0;
      };
      if (is("product")) {
        sampling.by_product = true;
      } else if (is("keep_largest")) {
        sampling.keep_largest = true;
      } else if (is("NCHW")) {
        layout = Layout::kNCHW;
      } else {
        numbers.push_back(argv[i]);
      }
    }
    const size_t count = numbers.size();
    if (count > 0) share = std::atof(numbers[0]);
    if (count > 1) threads = std::max(1, std::atoi(numbers[1]));
    if (count > 2) repeats = std::max(1, std::atoi(numbers[2]));
    for (const auto& shape : tf_approxgrad::kConvolutionShapes) {
      shapes.push_back(shape);
    }
    for (const auto& shape : kMoreShapes) shapes.push_back(shape);
    if (count > 3) {
      const size_t only =
          std::min<size_t>(std::atoi(numbers[3]), shapes.size() - 1);
      shapes = {shapes[only]};
    }
  }

  double share = 0.125;
  int threads = 1;
  int repeats = 15;
  RowSampling sampling;
  Layout layout = Layout::kNHWC;
  std::vector<ConvolutionShape> shapes;
};

// Runs work(), which every thread calls, and returns how long it took: of the
// processor with one thread, so that a busy machine matters little.
double Time(const Request& request, tf_approxgrad::Helpers* helpers,
            const std::function<void()>& work) {
  const bool is_alone = request.threads == 1;
  const auto now = is_alone ? &tf_approxgrad::ThreadMilliseconds
                            : &tf_approxgrad::ClockMilliseconds;
  const double start = now();
  is_alone ? work() : helpers->Run(work);
  return now() - start;
}

void TimeShape(const Request& request, const ConvolutionShape& shape,
               InstructionSet set, double peak,
               tf_approxgrad::Helpers* helpers) {
  ConvGeometry g = tf_approxgrad::SameConvolution(shape);
  g.layout = request.layout;
  const int64_t rows = g.batch * g.positions();
  const int64_t pixels = g.in_rows * g.in_cols;
  RowSampling sampling = request.sampling;
  sampling.draws = std::max<int64_t>(
      1, static_cast<int64_t>(request.share * static_cast<double>(rows)));
  const auto kernels =
      tf_approxgrad::KernelsFor<tf_approxgrad::RowsKernels<float>>(set);
  const tf_approxgrad::RowsFilterGradient<float> gradient(g, sampling,
                                                          request.threads, set);
  const Values input = RandomValues(g.input_size(), 1);
  const Values out_backprop = RandomValues(g.output_size(), 2);
  const Values result = MakeValues(g.filter_size() * g.out_depth);
  const Values scratch = MakeValues(gradient.scratch_bytes() / 4);
  tf_approxgrad::ScratchLayout layout(scratch.get());
  const auto own = tf_approxgrad::LayOutRowSampler(g, sampling, &layout);
  std::vector<double> sums(std::max(rows, g.batch * pixels));
  const auto square = [&](const float* values, int64_t positions,
                          int64_t channels) {
    constexpr int64_t kBlock = 256;
    const int64_t count = g.batch * positions;
    UnitQueue squares(tf_approxgrad::DivideUp(count, kBlock), 4);
    return Time(request, helpers, [&] {
      squares.Run([&](int64_t begin, int64_t end) {
        kernels.square_sums(g.layout, values, positions, channels,
                            begin * kBlock, std::min(end * kBlock, count),
                            sums.data());
      });
    });
  };
  // The least of each phase; the first calls meet new pages.
  double x_ms = 1e9, dy_ms = 1e9, limit_ms = 1e9, draw_ms = 1e9, ms = 1e9;
  for (int repeat = 0; repeat <= request.repeats; ++repeat) {
    if (repeat == 1) x_ms = dy_ms = limit_ms = draw_ms = ms = 1e9;
    if (sampling.by_product) {
      x_ms = std::min(x_ms, square(input.get(), pixels, g.in_depth));
    }
    dy_ms =
        std::min(dy_ms, square(out_backprop.get(), g.positions(), g.out_depth));
    tf_approxgrad::RowSampler<float> sampler(g, sampling, kernels, own, 0.5,
                                             input.get(), out_backprop.get());
    draw_ms = std::min(draw_ms, Time(request, helpers, [&] { sampler.Run(); }));
    if (sampling.keep_largest) {
      // The sizes are cut already: all passes, since limits are lowered.
      const double start = tf_approxgrad::ThreadMilliseconds();
      volatile double limit =
          kernels.limit_of_largest(own.size, rows, sampling.draws);
      (void)limit;
      limit_ms =
          std::min(limit_ms, tf_approxgrad::ThreadMilliseconds() - start);
    }
    const auto now = request.threads == 1 ? &tf_approxgrad::ThreadMilliseconds
                                          : &tf_approxgrad::ClockMilliseconds;
    const double start = now();
    gradient.Compute(1.0, 0.5, input.get(), out_backprop.get(), scratch.get(),
                     result.get(),
                     [&](int64_t workers, const std::function<void()>& work) {
                       workers == 1 ? work() : helpers->Run(work);
                     });
    ms = std::min(ms, now() - start);
  }
  if (!sampling.by_product) x_ms = 0;
  if (!sampling.keep_largest) limit_ms = 0;
  const double product_ms = ms - draw_ms;
  const double work = static_cast<double>(sampling.draws) * g.filter_size() *
                      static_cast<double>(g.out_depth) * 1e-6;
  tf_approxgrad::PrintShape(g);
  std::printf(" %7.3f %7.3f %7.3f %8.3f %8.3f %8.3f %8.1f %7.3f\n", x_ms, dy_ms,
              draw_ms - x_ms - dy_ms, limit_ms, product_ms, ms,
              work / product_ms, work / peak / request.threads / ms);
}

}  // namespace

int main(int argc, char** argv) {
  const Request request(argc, argv);
  const InstructionSet set = tf_approxgrad::ChosenInstructionSet();
  const double peak = tf_approxgrad::Peak(set);
  std::printf(
      "%s, %d threads, share %g of %s%s, float32 %s; least of %d in ms; peak "
      "of a thread %.1f G multiply-adds/s\n",
      tf_approxgrad::InstructionSetName(set).c_str(), request.threads,
      request.share, request.sampling.by_product ? "products" : "norms",
      request.sampling.keep_largest ? ", largest kept" : "",
      request.layout == Layout::kNHWC ? "NHWC" : "NCHW", request.repeats, peak);
  std::printf("%34s %7s %7s %7s %8s %8s %8s %8s %7s\n", "shape", "X", "dY",
              "draw", "of it", "product", "total", "G mult.-", "bound");
  std::printf("%34s %7s %7s %7s %8s %8s %8s %8s %7s\n", "", "", "", "", "limit",
              "", "", "adds/s", "/ total");
  tf_approxgrad::Helpers helpers(request.threads - 1);
  for (const ConvolutionShape& shape : request.shapes) {
    TimeShape(request, shape, set, peak, &helpers);
  }
  return 0;
}
