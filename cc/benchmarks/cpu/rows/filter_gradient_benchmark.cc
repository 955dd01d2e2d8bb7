// Times the row-sampled method by itself, without TensorFlow: processor time of
// one thread, so that a busy machine matters little.
//
//   filter_gradient_benchmark [share] [NCHW]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/measuring.h"
#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/rows/filter_gradient.h"
#include "cc/cpu/rows/kernels.h"

namespace {

using tf_approxgrad::ConvGeometry;
using tf_approxgrad::ConvolutionShape;
using tf_approxgrad::Layout;
using tf_approxgrad::MakeValues;
using tf_approxgrad::Median;
using tf_approxgrad::RandomValues;
using tf_approxgrad::ThreadMilliseconds;
using tf_approxgrad::Values;

}  // namespace

int main(int argc, char** argv) {
  const double share = argc > 1 ? std::atof(argv[1]) : 0.125;
  const bool nchw = argc > 2 && std::strcmp(argv[2], "NCHW") == 0;
  const auto set = tf_approxgrad::ChosenInstructionSet();
  const auto kernels =
      tf_approxgrad::KernelsFor<tf_approxgrad::RowsKernels<float>>(set);
  std::printf("%s, one thread, share %g, float32 %s; median of 15\n",
              tf_approxgrad::InstructionSetName(set).c_str(), share,
              nchw ? "NCHW" : "NHWC");
  std::printf("%34s %9s %9s %16s\n", "shape", "norms ms", "total ms",
              "G mult.-adds/s");
  for (const ConvolutionShape& shape : tf_approxgrad::kConvolutionShapes) {
    ConvGeometry g = tf_approxgrad::SameConvolution(shape);
    if (nchw) g.layout = Layout::kNCHW;
    const int64_t rows = g.batch * g.positions();
    tf_approxgrad::RowSampling sampling;
    sampling.draws = std::max<int64_t>(
        1, static_cast<int64_t>(share * static_cast<double>(rows)));
    const tf_approxgrad::RowsFilterGradient<float> gradient(g, sampling, 1,
                                                            set);
    const Values input = RandomValues(g.input_size(), 1);
    const Values out_backprop = RandomValues(g.output_size(), 2);
    const Values result = MakeValues(g.filter_size() * g.out_depth);
    const Values scratch = MakeValues(gradient.scratch_bytes() / 4);
    std::vector<double> sums(rows);
    std::vector<double> norm_ms, total_ms;
    for (int repeat = 0; repeat < 15; ++repeat) {
      const double start = ThreadMilliseconds();
      kernels.square_sums(g.layout, out_backprop.get(), g.positions(),
                          g.out_depth, 0, rows, sums.data());
      const double summed = ThreadMilliseconds();
      gradient.Compute(
          1.0, 0.5, input.get(), out_backprop.get(), scratch.get(),
          result.get(),
          [](int64_t, const std::function<void()>& work) { work(); });
      norm_ms.push_back(summed - start);
      total_ms.push_back(ThreadMilliseconds() - summed);
    }
    const double work =
        static_cast<double>(sampling.draws) * g.filter_size() * g.out_depth;
    const double norms = Median(norm_ms);
    const double total = Median(total_ms);
    tf_approxgrad::PrintShape(g);
    std::printf(" %9.2f %9.2f %16.1f\n", norms, total,
                work / (total - norms) * 1e-6);
  }
  return 0;
}
