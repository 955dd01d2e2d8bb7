// Times the Winograd filter gradient by itself, without TensorFlow, beside a
// dense gradient at the peak of the multiply-add units, which none reaches.
//
//   filter_gradient_benchmark [threads [repeats [the only shape, from 0]]]

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/cpu/winograd/times.h"
#include "cc/benchmarks/measuring.h"
#include "cc/common/geometry.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/winograd/filter_gradient.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"

namespace {

using tf_approxgrad::ConvGeometry;
using tf_approxgrad::InstructionSet;
using tf_approxgrad::MakeValues;
using tf_approxgrad::RandomValues;
using tf_approxgrad::ThreadMilliseconds;
using tf_approxgrad::Values;
using tf_approxgrad::WinogradKernels;
using tf_approxgrad::WinogradPlan;

// What transforms take in one thread if the pixels are in cache: one block's,
// times the number of blocks.
double TransformMilliseconds(const ConvGeometry& g, InstructionSet set,
                             const float* input, const float* out_backprop) {
  const auto kernels = tf_approxgrad::KernelsFor<WinogradKernels>(set);
  const WinogradPlan plan = tf_approxgrad::PlanWinograd(g, kernels.panel_width);
  const Values panels = MakeValues(plan.panels_size());
  const std::vector<float> zeros(g.in_depth);
  const tf_approxgrad::WinogradTask task{
      g, plan, input, out_backprop, zeros.data(), nullptr, {}};
  const int64_t tiles = std::min(plan.block_tiles, plan.tiles);
  double least = 1e9;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const double start = ThreadMilliseconds();
    kernels.transform(task, 0, 0, tiles, panels.get());
    least = std::min(least, ThreadMilliseconds() - start);
  }
  return least * static_cast<double>(plan.tiles) / static_cast<double>(tiles);
}

}  // namespace

int main(int argc, char** argv) {
  const tf_approxgrad::Request request(argc, argv);
  const InstructionSet set = tf_approxgrad::ChosenInstructionSet();
  const double peak = request.PrintHead();
  std::printf(" %11s %13s\n", "transforms", "products, G");
  std::printf("%34s %8s %9s %9s %11s %13s\n", "shape", "ms", "the peak",
              "at it", "in cache", "mult.-adds/s");
  tf_approxgrad::Helpers helpers(request.threads - 1);
  for (const auto& shape : request.shapes) {
    const ConvGeometry g = tf_approxgrad::SameConvolution(shape);
    const tf_approxgrad::WinogradFilterGradient gradient(g, request.threads,
                                                         set);
    const Values input = RandomValues(g.input_size(), 1);
    const Values out_backprop = RandomValues(g.output_size(), 2);
    const Values result = MakeValues(g.filter_size() * g.out_depth);
    const Values scratch = MakeValues(gradient.scratch_bytes() / 4);
    const double ms = tf_approxgrad::LeastMilliseconds(
        request, &helpers, [&](const tf_approxgrad::RunWorkers& run) {
          gradient.Compute(input.get(), out_backprop.get(), scratch.get(),
                           result.get(), run);
        });
    const double transform_ms =
        TransformMilliseconds(g, set, input.get(), out_backprop.get()) /
        request.threads;
    tf_approxgrad::PrintShape(g);
    tf_approxgrad::PrintTimes(request, peak, g, ms);
    std::printf(" %10.0f%% %13.1f\n", transform_ms / ms * 100,
                tf_approxgrad::Products(g) * 1e-6 / (ms - transform_ms));
  }
  return 0;
}
