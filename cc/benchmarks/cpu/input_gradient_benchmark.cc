// Times the input gradients by themselves, without TensorFlow, from end to end:
// processor time of one thread.
//
//   input_gradient_benchmark [max | sampled | rows [k or share [NCHW]]]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/measuring.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/positions/input_gradient.h"
#include "cc/cpu/rows/input_gradient.h"

namespace {

using tf_approxgrad::ConvGeometry;
using tf_approxgrad::ConvolutionShape;
using tf_approxgrad::Layout;
using tf_approxgrad::MakeValues;
using tf_approxgrad::RandomValues;
using tf_approxgrad::Selection;
using tf_approxgrad::SelectionMethod;
using tf_approxgrad::Values;

constexpr int kRepeats = 15;

void RunAlone(int64_t, const std::function<void()>& work) { work(); }

double MedianMilliseconds(const std::function<void()>& compute) {
  std::vector<double> times;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const double start = tf_approxgrad::ThreadMilliseconds();
    compute();
    times.push_back(tf_approxgrad::ThreadMilliseconds() - start);
  }
  return tf_approxgrad::Median(times);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string method = argc > 1 ? argv[1] : "sampled";
  const bool rows = method == "rows";
  const double amount = argc > 2 ? std::atof(argv[2]) : rows ? 0.125 : 4;
  const bool nchw = argc > 3 && std::strcmp(argv[3], "NCHW") == 0;
  const auto set = tf_approxgrad::ChosenInstructionSet();
  std::printf("%s, one thread, %s, %s = %g, float32 %s; median of %d\n",
              tf_approxgrad::InstructionSetName(set).c_str(), method.c_str(),
              rows ? "share" : "k", amount, nchw ? "NCHW" : "NHWC", kRepeats);
  std::printf("%34s %9s %16s\n", "shape", "ms", "G mult.-adds/s");
  for (const ConvolutionShape& shape : tf_approxgrad::kConvolutionShapes) {
    ConvGeometry g = tf_approxgrad::SameConvolution(shape);
    if (nchw) g.layout = Layout::kNCHW;
    const int64_t k =
        std::clamp<int64_t>(static_cast<int64_t>(amount), 1, g.positions());
    const auto all_rows = static_cast<double>(g.batch * g.positions());
    const auto draws =
        std::max<int64_t>(1, static_cast<int64_t>(amount * all_rows));
    const Values input = RandomValues(g.input_size(), 1);
    const Values out_backprop = RandomValues(g.output_size(), 2);
    const Values filter = RandomValues(g.filter_size() * g.out_depth, 3);
    const Values in_backprop = MakeValues(g.input_size());
    double ms;
    if (rows) {
      const tf_approxgrad::RowsInputGradient<float> gradient(
          g, {draws, false, false}, 1, set);
      const Values scratch = MakeValues(gradient.scratch_bytes() / 4);
      ms = MedianMilliseconds([&] {
        gradient.Compute(1.0, 0.5, input.get(), filter.get(),
                         out_backprop.get(), scratch.get(), in_backprop.get(),
                         RunAlone);
      });
    } else {
      const Selection selection{method == "max" ? SelectionMethod::kLargest
                                                : SelectionMethod::kSampled,
                                k,
                                {}};
      const tf_approxgrad::PositionsInputGradient<float> gradient(g, selection,
                                                                  1, set);
      const Values scratch = MakeValues(gradient.scratch_bytes() / 4);
      ms = MedianMilliseconds([&] {
        gradient.Compute(1.0, filter.get(), out_backprop.get(), scratch.get(),
                         in_backprop.get(), RunAlone);
      });
    }
    const double kept = rows ? static_cast<double>(draws * g.out_depth)
                             : static_cast<double>(g.batch * g.out_depth * k);
    tf_approxgrad::PrintShape(g);
    std::printf(" %9.2f %16.1f\n", ms,
                kept * static_cast<double>(g.filter_size()) / ms * 1e-6);
  }
  return 0;
}
