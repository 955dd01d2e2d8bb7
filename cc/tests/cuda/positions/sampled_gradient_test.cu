// The sampled method's CUDA kernel against the processor's and a
// double-precision reference: the same draws to the bit, in both layouts, and
// the same gradient.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cuda/positions/filter_gradient.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/positions/weighted_position.h"
#include "cc/cuda/runtime/device_limits.h"
#include "cc/tests/check.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/cuda/positions/filter_gradient_samples.h"
#include "cc/tests/cuda/test_device.h"

namespace tf_approxgrad {
namespace {

// The positions and weights that the processor's kernels list, [N, Co, k].
template <typename T>
std::vector<WeightedPatch<typename AccumulatorOf<T>::type>> DrawnOnCpu(
    const ConvGeometry& g, const Selection& selection,
    const std::vector<T>& dy) {
  using Patch = WeightedPatch<typename AccumulatorOf<T>::type>;
  AccumulationPlan plan;
  plan.group = kGroupStep;
  plan.run_images = 1;
  const int64_t k = selection.k;
  std::vector<Patch> listed(g.batch * g.out_depth * k), drawn;
  KernelsFor<PositionsKernels<T>>(ChosenInstructionSet())
      .select(g, plan, selection, dy.data(), 0, SelectionUnits(g),
              listed.data());
  for (int64_t n = 0; n < g.batch; ++n) {
    for (int64_t co = 0; co < g.out_depth; ++co) {
      const int64_t begin = co / kGroupStep * kGroupStep;
      const int64_t size = std::min(kGroupStep, g.out_depth - begin);
      const auto first =
          listed.begin() + (begin * g.batch + n * size + co - begin) * k;
      drawn.insert(drawn.end(), first, first + k);
    }
  }
  return drawn;
}

// Both layouts, aligned or not: the gradient, and the draws to the bit, of
// values whose sums round.
template <typename T>
void TestSampledAgrees(const ConvGeometry& g, int64_t asked_k, double epsilon,
                       const CudaDevice& device) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const Selection selection{SelectionMethod::kSampled,
                            std::min(asked_k, g.positions()),
                            {0x123456789, 7, (uint64_t{1} << 35) + 1}};
  const auto sample = RandomSample<T>(g, selection);
  std::mt19937 generator(9);
  std::lognormal_distribution<double> magnitude(0, 2);
  std::vector<T> dy(g.output_size());
  for (T& value : dy) {
    const double exact =
        generator() % 2 ? magnitude(generator) : -magnitude(generator);
    value = Store<T>(static_cast<Accumulator>(exact));
  }
  const auto expected = DrawnOnCpu(g, selection, dy);
  for (const Layout layout : kLayouts) {
    for (const bool aligned : {true, false}) {
      CudaPlanOptions options;
      options.input_layout = options.out_backprop_layout = layout;
      std::string what;
      const auto result = Compute(sample, device, options, aligned, &what);
      CheckAgrees(sample, result, epsilon, what);
      if (selection.k == g.positions()) continue;

      const CudaPositionsFilterGradient<T> gradient(g, selection, device,
                                                    options);
      const DeviceArray<T> values(
          InLayout(layout, dy, g.batch, g.out_rows, g.out_cols, g.out_depth),
          aligned ? 0 : 1);
      DeviceArray<WeightedPosition<Accumulator>> kept(expected.size());
      Must(gradient.Select(values.get(), kept.get(), nullptr), what.c_str());
      Must(cudaDeviceSynchronize(), what.c_str());
      const auto drawn = kept.Read();
      bool same = true;
      for (size_t i = 0; i < drawn.size(); ++i) {
        same = same && drawn[i].position == expected[i].place &&
               drawn[i].weight == expected[i].weight;
      }
      Check(same, what + ": other draws than on the CPU");
    }
  }
}

void TestNonFiniteChannelShows(const ConvGeometry& g, float value,
                               const CudaDevice& device) {
  std::mt19937 generator(3);
  std::vector<double> exact;
  const auto x = RandomValues<float>(g.input_size(), &generator, &exact);
  auto dy = RandomValues<float>(g.output_size(), &generator, &exact);
  const int64_t channel = g.out_depth / 2;
  dy[ImageIndex(Layout::kNHWC, g.batch - 1, g.out_rows / 2, 0, channel,
                g.out_rows, g.out_cols, g.out_depth)] = value;
  // And one of zeros.
  for (int64_t i = 0; i < g.output_size(); i += g.out_depth) dy[i] = 0;
  const Sample<float> sample(g, {SelectionMethod::kSampled, 3, {}}, x, dy);
  for (const Layout layout : kLayouts) {
    CudaPlanOptions options;
    options.input_layout = options.out_backprop_layout = layout;
    std::string what;
    const auto result = Compute(sample, device, options, true, &what);
    for (size_t i = 0; i < result.size(); ++i) {
      const int64_t co = static_cast<int64_t>(i) % g.out_depth;
      Check(std::isfinite(result[i]) != (co == channel),
            what + ": a NaN or infinity is hidden, or shows elsewhere");
      if (co == 0 && channel != 0) {
        Check(result[i] == 0, what + ": a channel of zeros gives something");
      }
    }
  }
}

// A block has whole groups, and a channel no more threads than it has work for.
void TestGroupsFillABlock(const CudaDevice& device) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {1, 3, 16, 100, 512}) {
      for (const int64_t size : {1, 2, 4, 7, 16, 32, 112}) {
        for (const int64_t k : {1, 4, 500}) {
          ConvGeometry g = SameConvolution({8, 3, channels, size, 3, 1});
          g.layout = layout;
          if (k >= g.positions()) continue;
          CudaPlanOptions options;
          options.selection = CudaSelection::kSampled;
          const CudaPlan plan = PlanCuda(g, k, 4, 4, device, options);
          const int64_t threads = plan.selection_lanes * plan.selection_workers;
          Check(kCudaSelectionThreads % threads == 0, "groups of a block");
          const int64_t segments = (g.positions() + 15) / 16;
          Check(plan.selection_workers < 2 * std::max(segments, k),
                "threads without a segment or a draw");
          Check(layout == Layout::kNHWC || plan.selection_lanes == 1,
                "lanes in NCHW");
          Check(plan.selection_vector == 1 ||
                    (layout == Layout::kNCHW && g.positions() % 4 == 0),
                "vectors of positions that aren't neighbours");
        }
      }
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  const CudaDevice device = TestDevice();
  TestGroupsFillABlock(device);
  for (const Problem& problem : kProblems) {
    const ConvGeometry g = GeometryOf(problem, Layout::kNHWC);
    for (const int64_t k : {1, 3, 20, 1000}) {
      // Long sums, for the emulated GPU.
      const int64_t multiply_adds =
          g.batch * g.out_depth * g.filter_size() * std::min(k, g.positions());
      if (kEmulated && multiply_adds > 500'000) continue;
      TestSampledAgrees<float>(g, k, 1e-6, device);
      TestSampledAgrees<double>(g, k, 1e-12, device);
      TestSampledAgrees<Bfloat16>(g, k, 1e-2, device);
      TestSampledAgrees<Half>(g, k, 2e-3, device);
    }
    TestNonFiniteChannelShows(g, NAN, device);
    TestNonFiniteChannelShows(g, INFINITY, device);
  }
  Check(RunsOf()["selection 4"] > 0, "the sampled selection never ran");
  return FailedChecks("cuda/positions/sampled_gradient_test");
}
