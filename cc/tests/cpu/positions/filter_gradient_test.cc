// The kernels of the methods that keep positions against a double-precision
// reference: all types, layouts, instruction sets and numbers of workers, over
// shapes that take every path. Needs no TensorFlow. Every buffer has exactly
// the documented size, so that a sanitizer sees the first element too far.

#include "cc/cpu/positions/filter_gradient.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/random_stream.h"
#include "cc/common/selection.h"
#include "cc/cpu/core/cache_sizes.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/tests/check.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/cpu/runs.h"

namespace tf_approxgrad {
namespace {

constexpr RandomStream kStream{0xfedcba9876543210, 3, (uint64_t{1} << 40) + 5};

constexpr Problem kLargeProblems[] = {
    // Clipped maps of several runs.
    {150, 2, 2, 64, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {150, 4, 4, 33, 20, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2},
    // An image that fits no tile, of channels that fill no chunk.
    {2, 300, 290, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    // Enough chunks for two of them to make a unit, and a dF larger than L2.
    {3, 5, 5, 320, 96, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
};

// Those of a small processor, so that small shapes take every path.
constexpr CacheSizes kCaches{/*level1=*/32 * 1024, /*level2=*/256 * 1024};

// How often each path of the accumulation has been taken.
std::map<std::string, int>& RunsOf() {
  static std::map<std::string, int> runs;
  return runs;
}

void NotePaths(const AccumulationPlan& plan) {
  const bool tile = plan.path == AccumulationPath::kTile;
  ++RunsOf()[tile ? (plan.clipped ? "clipped" : "tile")
             : plan.path == AccumulationPath::kDirect ? "direct"
                                                      : "general"];
  if (tile) {
    if (plan.clipped && plan.runs > 1) ++RunsOf()["clipped runs"];
    if (!plan.clipped && plan.runs > plan.tiles) ++RunsOf()["runs in a tile"];
    if (plan.tiles > 1) ++RunsOf()["several tiles"];
    if (plan.unit_chunks > 1) ++RunsOf()["two chunks a unit"];
    if (plan.parts > 1) ++RunsOf()["several parts"];
  }
  if (plan.streams_result) ++RunsOf()["streamed filter"];
}

template <typename T>
std::vector<T> Compute(const ConvGeometry& g, const Selection& selection,
                       double scale, const std::vector<T>& x,
                       const std::vector<T>& dy, int64_t threads,
                       InstructionSet instruction_set) {
  const PositionsFilterGradient<T> gradient(g, selection, threads,
                                            instruction_set, kCaches);
  NotePaths(gradient.plan());
  const AlignedMemory scratch(gradient.scratch_bytes());
  std::vector<T> result(g.filter_size() * g.out_depth);
  const AlignedMemory filter_backprop(result.size() * sizeof(T));
  gradient.Compute(scale, x.data(), dy.data(), scratch.data,
                   static_cast<T*>(filter_backprop.data),
                   threads % 2 == 0 ? RunTogether : RunOneByOne);
  std::memcpy(result.data(), filter_backprop.data, result.size() * sizeof(T));
  return result;
}

template <typename T>
void TestAgreesWithTheReference(const Problem& problem, Layout layout,
                                Selection selection, double epsilon) {
  const ConvGeometry g = GeometryOf(problem, layout);
  Check(GeometryProblem(g).empty(), "a test's geometry is wrong");
  selection.k = std::min(selection.k, g.positions());
  const std::string what = Describe(g, selection, sizeof(T));
  std::mt19937 generator(7);
  std::vector<double> x_exact, dy_exact, magnitudes;
  const auto x = RandomValues<T>(g.input_size(), &generator, &x_exact);
  const auto dy = RandomValues<T>(g.output_size(), &generator, &dy_exact);
  const auto expected =
      ReferenceGradient(g, selection, 0.5, x_exact, dy_exact, &magnitudes,
                        std::is_same_v<T, double>);
  for (const InstructionSet set : InstructionSets()) {
    const std::string with = what + ", " + InstructionSetName(set);
    const auto result = Compute<T>(g, selection, 0.5, x, dy, 1, set);
    CheckAgrees(result, expected, magnitudes, epsilon, with);
    for (const int64_t threads : {2, 3, 7}) {
      const auto again = Compute<T>(g, selection, 0.5, x, dy, threads, set);
      Check(std::memcmp(again.data(), result.data(),
                        result.size() * sizeof(T)) == 0,
            with + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

void TestNonFiniteChannelShows(const Problem& problem, Layout layout,
                               SelectionMethod method, float value) {
  const ConvGeometry g = GeometryOf(problem, layout);
  std::mt19937 generator(3);
  std::vector<double> exact;
  const auto x = RandomValues<float>(g.input_size(), &generator, &exact);
  auto dy = RandomValues<float>(g.output_size(), &generator, &exact);
  const int64_t channel = g.out_depth / 2;
  dy[ImageIndex(layout, g.batch - 1, g.out_rows / 2, 0, channel, g.out_rows,
                g.out_cols, g.out_depth)] = value;
  for (const InstructionSet set : InstructionSets()) {
    for (const int64_t k : {int64_t{1}, std::min<int64_t>(3, g.positions())}) {
      const Selection selection{method, k, kStream};
      const auto result = Compute<float>(g, selection, 1.0, x, dy, 2, set);
      for (size_t i = 0; i < result.size(); ++i) {
        const bool hit = static_cast<int64_t>(i) % g.out_depth == channel;
        Check(
            hit || std::isfinite(result[i]),
            Describe(g, selection, 4) + ": a channel without NaN isn't finite");
      }
      bool shows = false;
      for (int64_t i = channel; i < static_cast<int64_t>(result.size());
           i += g.out_depth) {
        shows = shows || !std::isfinite(result[i]);
      }
      Check(shows,
            Describe(g, selection, 4) + ": a channel hides a NaN or infinity");
    }
  }
}

// The patches that are listed for a sampled selection, by position.
template <typename T>
std::vector<WeightedPatch<typename AccumulatorOf<T>::type>> Listed(
    const ConvGeometry& g, const Selection& selection, const std::vector<T>& dy,
    InstructionSet set) {
  AccumulationPlan plan;
  plan.group = kGroupStep;
  plan.run_images = 1;
  std::vector<WeightedPatch<typename AccumulatorOf<T>::type>> patches(
      g.batch * g.out_depth * selection.k);
  // In ranges that begin anywhere.
  const int64_t units = SelectionUnits(g);
  for (int64_t begin = 0; begin < units; begin += 13) {
    KernelsFor<PositionsKernels<T>>(set).select(
        g, plan, selection, dy.data(), begin, std::min(begin + 13, units),
        patches.data());
  }
  return patches;
}

// Bytes between a place and a weight don't count.
template <typename Patch>
bool AreSameBits(const std::vector<Patch>& a, const std::vector<Patch>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].place != b[i].place ||
        std::memcmp(&a[i].weight, &b[i].weight, sizeof(a[i].weight)) != 0) {
      return false;
    }
  }
  return a.size() == b.size();
}

// Values whose sums round, unlike RandomValues.
template <typename T>
std::vector<T> RoughValues(int64_t count) {
  std::mt19937 generator(11);
  std::lognormal_distribution<double> magnitude(0, 3);
  std::vector<T> values(count);
  for (T& value : values) {
    const double exact =
        generator() % 2 ? magnitude(generator) : -magnitude(generator);
    value = Store<T>(static_cast<typename AccumulatorOf<T>::type>(exact));
  }
  return values;
}

template <typename T>
void TestDrawsAreTheSameBitsEverywhere(ConvGeometry g, int64_t k) {
  const Selection selection{SelectionMethod::kSampled,
                            std::min(k, g.positions()), kStream};
  const std::string what = Describe(g, selection, sizeof(T));
  const auto dy = RoughValues<T>(g.output_size());
  const auto expected = Listed(g, selection, dy, InstructionSet::kBaseline);
  for (const InstructionSet set : InstructionSets()) {
    Check(AreSameBits(Listed(g, selection, dy, set), expected),
          what + ": other draws with " + InstructionSetName(set));
  }
  std::vector<T> moved(dy.size());
  for (int64_t at = 0; at < g.output_size(); ++at) {
    const int64_t co = at % g.out_depth, p = at / g.out_depth % g.positions();
    const int64_t n = at / g.out_depth / g.positions();
    moved[(n * g.out_depth + co) * g.positions() + p] = dy[at];
  }
  g.layout = Layout::kNCHW;
  Check(AreSameBits(Listed(g, selection, moved, ChosenInstructionSet()),
                    expected),
        what + ": other draws of NCHW");
}

// Of channels of the same values, every draw at every position, none of a zero,
// and each as often as it should.
void TestDrawsAreInProportion() {
  ConvGeometry g;
  g.batch = 400;
  g.in_rows = g.out_rows = 1;
  g.in_cols = g.out_cols = 40;
  g.in_depth = g.filter_rows = g.filter_cols = 1;
  g.out_depth = 100;
  std::vector<float> values(40), dy;
  float total = 0;
  for (int p = 0; p < 40; ++p) {
    values[p] = p % 3 == 0 ? 0.0f : (p % 2 ? 1 : -1) * (1.0f + p);
    total += std::abs(values[p]);
  }
  for (int64_t n = 0; n < g.batch; ++n) {
    for (const float value : values) dy.insert(dy.end(), g.out_depth, value);
  }
  const int64_t channels = g.batch * g.out_depth;
  for (const int64_t k : {1, 2, 7, 39}) {
    const Selection selection{SelectionMethod::kSampled, k, kStream};
    std::vector<double> draws(40);
    for (const auto& patch : Listed(g, selection, dy, ChosenInstructionSet())) {
      const float value = values[patch.place];
      Check(value != 0, "a zero was drawn");
      Check(patch.weight == std::copysign(total / k, value),
            "a draw has another weight than S / k");
      ++draws[patch.place];
    }
    for (int p = 0; p < 40; ++p) {
      // The number of times differs from its mean by less than 1, uniformly
      // over u: five deviations of the mean, and then some.
      const double expected = k * std::abs(values[p]) / total;
      Check(std::abs(draws[p] / channels - expected) <
                5 * 0.5 / std::sqrt(channels),
            "position " + std::to_string(p) + " was drawn " +
                std::to_string(draws[p] / channels) + " times, not " +
                std::to_string(expected));
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  // More work than the other problems, for float32 and max alone.
  for (const Problem& problem : kLargeProblems) {
    for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
      for (const int64_t k : {1, 3}) {
        TestAgreesWithTheReference<float>(
            problem, layout, {SelectionMethod::kLargest, k, {}}, 1e-6);
      }
    }
  }
  for (const Problem& problem : kProblems) {
    for (const auto method :
         {SelectionMethod::kLargest, SelectionMethod::kSampled}) {
      const auto selection = [&](int64_t k) {
        return Selection{method, k, kStream};
      };
      for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
        for (const int64_t k : {1, 2, 5, 1000}) {
          TestAgreesWithTheReference<float>(problem, layout, selection(k),
                                            1e-6);
        }
        TestAgreesWithTheReference<double>(problem, layout, selection(1),
                                           1e-12);
        TestAgreesWithTheReference<double>(problem, layout, selection(1000),
                                           1e-12);
        TestAgreesWithTheReference<Bfloat16>(problem, layout, selection(1),
                                             1e-2);
        TestAgreesWithTheReference<Half>(problem, layout, selection(4), 2e-3);
        TestNonFiniteChannelShows(problem, layout, method, NAN);
        TestNonFiniteChannelShows(problem, layout, method, INFINITY);
      }
    }
    const ConvGeometry g = GeometryOf(problem, Layout::kNHWC);
    for (const int64_t k : {1, 3, 50, 800}) {
      TestDrawsAreTheSameBitsEverywhere<float>(g, k);
      TestDrawsAreTheSameBitsEverywhere<double>(g, k);
      TestDrawsAreTheSameBitsEverywhere<Half>(g, k);
    }
  }
  TestDrawsAreInProportion();
  for (const char* path :
       {"tile", "runs in a tile", "several tiles", "two chunks a unit",
        "several parts", "clipped", "clipped runs", "direct", "general",
        "streamed filter"}) {
    Check(RunsOf()[path] > 0, std::string("never taken: ") + path);
  }
  return FailedChecks("cpu/positions/filter_gradient_test");
}
