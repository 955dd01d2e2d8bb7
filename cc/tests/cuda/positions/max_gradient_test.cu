// The CUDA kernels of max against the processor's and a double-precision
// reference: every plan, forced in turn, over shapes that take every path. On a
// GPU all combinations are run, on the emulated one (see test_device.h) an even
// selection. Each result must be the same bits in every repeat.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cuda/positions/filter_gradient.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/runtime/device_limits.h"
#include "cc/tests/check.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/cuda/positions/filter_gradient_samples.h"
#include "cc/tests/cuda/test_device.h"

namespace tf_approxgrad {
namespace {

Selection LargestOf(int64_t k) { return {SelectionMethod::kLargest, k, {}}; }

// Runs the plan that is chosen without wishes, in each layout or, on the
// emulated GPU, in one after the other, and each `every`th of those that can be
// wished for.
template <typename T>
void TestPlansAgree(const ConvGeometry& g, int64_t asked_k, double epsilon,
                    const CudaDevice& device, size_t every) {
  const auto sample = RandomSample<T>(g, LargestOf(asked_k));
  std::vector<CudaPlanOptions> wishes;
  static bool turn = false;
  turn = !turn;
  for (const Layout layout : kLayouts) {
    if (kEmulated && (layout == Layout::kNHWC) != turn) continue;
    CudaPlanOptions options;
    options.input_layout = options.out_backprop_layout = layout;
    wishes.push_back(options);
  }
  // Another part for each problem.
  static size_t next = 0;
  const auto all = AllOptions<T>(g, sample.selection.k, device);
  for (; next < all.size(); next += every) wishes.push_back(all[next]);
  next -= all.size();
  for (size_t i = 0; i < wishes.size(); ++i) {
    std::string what;
    const bool aligned = i % 4 != 3;
    const auto result = Compute(sample, device, wishes[i], aligned, &what);
    CheckAgrees(sample, result, epsilon, what);
  }
}

void TestNonFiniteChannelShows(const ConvGeometry& g, int64_t k, float value,
                               const CudaDevice& device, size_t every) {
  std::mt19937 generator(3);
  std::vector<double> exact;
  const auto x = RandomValues<float>(g.input_size(), &generator, &exact);
  auto dy = RandomValues<float>(g.output_size(), &generator, &exact);
  const int64_t channel = g.out_depth / 2;
  dy[ImageIndex(Layout::kNHWC, g.batch - 1, g.out_rows / 2, 0, channel,
                g.out_rows, g.out_cols, g.out_depth)] = value;
  const Sample<float> sample(g, LargestOf(k), x, dy);
  const auto all = AllOptions<float>(g, sample.selection.k, device);
  static size_t next = 0;
  for (; next < all.size(); next += every) {
    std::string what;
    const auto result = Compute(sample, device, all[next], true, &what);
    bool others_finite = true, shows = true;
    for (size_t i = 0; i < result.size(); ++i) {
      const bool hit = static_cast<int64_t>(i) % g.out_depth == channel;
      others_finite = others_finite && (hit || std::isfinite(result[i]));
      // Everywhere, since zero times it isn't finite either.
      shows = shows && !(hit && std::isfinite(result[i]));
    }
    Check(others_finite, what + ": a channel without NaN isn't finite");
    Check(shows, what + ": a channel hides a NaN or infinity");
  }
  next -= all.size();
}

// Channels in which all positions tie.
void TestLowestPositionsWinTies(const ConvGeometry& g, int64_t k,
                                const CudaDevice& device, size_t every) {
  std::mt19937 generator(5);
  std::vector<double> exact;
  const auto x = RandomValues<float>(g.input_size(), &generator, &exact);
  std::vector<float> dy(g.output_size());
  for (size_t i = 0; i < dy.size(); ++i) {
    const int64_t channel = static_cast<int64_t>(i) % g.out_depth;
    const int64_t position = static_cast<int64_t>(i) / g.out_depth;
    // Equal, opposite, zero, and equal but for the last position.
    dy[i] = channel % 4 == 0   ? -1.5f
            : channel % 4 == 1 ? (position % 2 ? 1 : -1) * 2.0f
            : channel % 4 == 2 ? (position % 2 ? 0.0f : -0.0f)
            : (position + 1) % g.positions() == 0 ? 0.5f
                                                  : 0.25f;
  }
  const Sample<float> sample(g, LargestOf(k), x, dy);
  const auto all = AllOptions<float>(g, sample.selection.k, device);
  static size_t next = 0;
  for (; next < all.size(); next += every) {
    std::string what;
    const auto result = Compute(sample, device, all[next], true, &what);
    CheckAgrees(sample, result, 1e-6, what + ", ties");
  }
  next -= all.size();
}

}  // namespace
}  // namespace tf_approxgrad

// The argument, if there is one, says to run each so-manieth plan only.
int main(int argc, char** argv) {
  using namespace tf_approxgrad;
  const CudaDevice device = TestDevice();
  const size_t asked = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  const auto every = [&](size_t emulated) {
    return kEmulated ? emulated : asked;
  };
  // For the emulated GPU: long sums, and long searches for more than one
  // position.
  const auto too_slow = [](const ConvGeometry& g, int64_t k) {
    const int64_t multiply_adds =
        g.batch * g.out_depth * g.filter_size() * std::min(k, g.positions());
    return kEmulated &&
           (multiply_adds > 500'000 || (k > 1 && g.output_size() > 100'000));
  };
  for (const Problem& problem : kProblems) {
    const ConvGeometry g = GeometryOf(problem, Layout::kNHWC);
    for (const int64_t k : {1, 2, 4, 5, 16, 40, 1000}) {
      if (too_slow(g, k)) continue;
      TestPlansAgree<float>(g, k, 1e-6, device, every(387));
    }
    for (const int64_t k : {1, 3, 4, 1000}) {
      if (too_slow(g, k)) continue;
      TestPlansAgree<double>(g, k, 1e-12, device, every(601));
      TestPlansAgree<Bfloat16>(g, k, 1e-2, device, every(601));
      TestPlansAgree<Half>(g, k, 2e-3, device, every(601));
    }
    for (const int64_t k : {1, 3}) {
      TestNonFiniteChannelShows(g, k, NAN, device, every(301));
      TestNonFiniteChannelShows(g, k, INFINITY, device, every(301));
      TestLowestPositionsWinTies(g, k, device, every(301));
    }
  }
  for (ConvolutionShape shape : kConvolutionShapes) {
    shape.batch = kEmulated ? 1 : 4;
    TestPlansAgree<float>(SameConvolution(shape), 1, 1e-6, device,
                          every(100000));
  }
  for (const char* kernel :
       {"selection 0", "selection 1", "selection 2", "selection 3", "input 0",
        "input 1", "input 2", "one part", "several parts", "one example",
        "several examples", "one tap", "many taps", "a table", "no table"}) {
    Check(RunsOf()[kernel] > 0, std::string("never run: ") + kernel);
  }
  return FailedChecks("cuda/positions/max_gradient_test");
}
