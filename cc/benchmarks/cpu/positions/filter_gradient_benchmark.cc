// Times the two kernels of a method that keeps positions by themselves, without
// TensorFlow: processor time of one thread, so that a busy machine matters
// little.
//
//   filter_gradient_benchmark [k [sampled]]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/measuring.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cpu/core/cache_sizes.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"

namespace {

using tf_approxgrad::AccumulationPlan;
using tf_approxgrad::ConvGeometry;
using tf_approxgrad::ConvolutionShape;
using tf_approxgrad::kConvolutionShapes;
using tf_approxgrad::MakeValues;
using tf_approxgrad::RandomValues;
using tf_approxgrad::Selection;
using tf_approxgrad::SelectionMethod;
using tf_approxgrad::ThreadMilliseconds;
using tf_approxgrad::Values;

const char* PathName(const AccumulationPlan& plan) {
  if (plan.clipped) return "clipped";
  if (plan.run_images < plan.tile_images) return "runs";
  switch (plan.path) {
    case tf_approxgrad::AccumulationPath::kDirect:
      return "direct";
    case tf_approxgrad::AccumulationPath::kTile:
      return "tile";
    default:
      return "general";
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t asked_k = argc > 1 ? std::atoi(argv[1]) : 1;
  const bool samples = argc > 2 && std::strcmp(argv[2], "sampled") == 0;
  const auto instruction_set = tf_approxgrad::ChosenInstructionSet();
  const auto kernels =
      tf_approxgrad::KernelsFor<tf_approxgrad::PositionsKernels<float>>(
          instruction_set);
  std::printf("%s, one thread, %s, k = %d, float32 NHWC; median of 15\n",
              tf_approxgrad::InstructionSetName(instruction_set).c_str(),
              samples ? "sampled" : "max", static_cast<int>(asked_k));
  std::printf("%34s %8s %9s %9s %9s\n", "shape", "path", "select ms",
              "accum. ms", "total ms");
  for (const ConvolutionShape& shape : kConvolutionShapes) {
    const ConvGeometry g = tf_approxgrad::SameConvolution(shape);
    const int64_t k = std::min(asked_k, g.positions());
    const Selection selection{
        samples ? SelectionMethod::kSampled : SelectionMethod::kLargest, k, {}};
    const AccumulationPlan plan = tf_approxgrad::PlanAccumulation(
        g, k, sizeof(float), sizeof(float), kernels.vector_bytes, 1,
        tf_approxgrad::DetectedCacheSizes());
    const Values input = RandomValues(g.input_size(), 1);
    const Values out_backprop = RandomValues(g.output_size(), 2);
    std::vector<tf_approxgrad::WeightedPatch<float>> patches(g.batch *
                                                             g.out_depth * k);
    std::vector<int32_t> class_counts(plan.class_counts_size);
    const Values worker = MakeValues(plan.worker_size());
    const Values gradient = MakeValues(g.filter_size() * g.out_depth);
    const tf_approxgrad::AccumulationTask<float> task{g,
                                                      plan,
                                                      k,
                                                      1.0f,
                                                      input.get(),
                                                      patches.data(),
                                                      class_counts.data(),
                                                      gradient.get()};
    std::vector<double> select_ms;
    std::vector<double> accumulate_ms;
    for (int repeat = 0; repeat < 15; ++repeat) {
      const double start = ThreadMilliseconds();
      kernels.select(g, plan, selection, out_backprop.get(), 0,
                     tf_approxgrad::SelectionUnits(g), patches.data());
      const double selected = ThreadMilliseconds();
      if (plan.clipped) {
        kernels.sort(g, plan, k, 0, g.out_depth, patches.data(),
                     class_counts.data());
      }
      tf_approxgrad::WorkerScratch<float> scratch{worker.get()};
      for (int64_t unit = 0; unit < plan.units; ++unit) {
        kernels.accumulate(task, unit, &scratch);
      }
      select_ms.push_back(selected - start);
      accumulate_ms.push_back(ThreadMilliseconds() - selected);
    }
    const double select = tf_approxgrad::Median(select_ms);
    const double accumulate = tf_approxgrad::Median(accumulate_ms);
    tf_approxgrad::PrintShape(g);
    std::printf(" %8s %9.2f %9.2f %9.2f\n", PathName(plan), select, accumulate,
                select + accumulate);
  }
  return 0;
}
