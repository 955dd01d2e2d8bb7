// The scatter of the methods that keep positions against a double-precision
// reference: all types, layouts, instruction sets and numbers of workers, over
// shapes that take every path. Needs no TensorFlow. Every buffer has exactly
// the documented size, so that a sanitizer sees the first element too far.

#include "cc/cpu/positions/input_gradient.h"

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
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/tests/check.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/cpu/runs.h"

namespace tf_approxgrad {
namespace {

constexpr RandomStream kStream{0xfedcba9876543210, 3, (uint64_t{1} << 40) + 5};

// Those of a small processor, so that small shapes take every path.
constexpr CacheSizes kCaches{/*level1=*/32 * 1024, /*level2=*/256 * 1024};

constexpr Problem kMoreProblems[] = {
    // Few channels on a map whose tile would be large.
    {1, 150, 140, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    // Positions that see no input.
    {2, 4, 5, 20, 7, 2, 3, 1, 1, 1, 1, 4, 5, 6, 3},
    // Strides that leave pixels out.
    {2, 11, 9, 18, 4, 2, 2, 3, 3, 1, 1, 0, 0, 0, 0},
    // Chunks of 8 vectors.
    {3, 5, 4, 140, 6, 1, 1, 2, 1, 1, 1, 0, 0, 0, 0},
};

// How often each path has been taken.
std::map<std::string, int>& RunsOf() {
  static std::map<std::string, int> runs;
  return runs;
}

void NotePaths(const AccumulationPlan& plan) {
  const bool tile = plan.path == AccumulationPath::kTile;
  ++RunsOf()[plan.clipped ? "clipped" : tile ? "tile" : "general"];
  if (tile && plan.run_images > 1 && plan.runs > 1) ++RunsOf()["several runs"];
  if (plan.clipped && plan.runs > 1) ++RunsOf()["clipped runs"];
  if (plan.chunks > 1) ++RunsOf()["several chunks"];
  if (plan.streams_result) ++RunsOf()["streamed"];
  if (plan.chunk_vectors == 2) ++RunsOf()["two vectors"];
  if (plan.chunk_vectors > 2) ++RunsOf()["many vectors"];
}

template <typename T>
std::vector<T> Compute(const ConvGeometry& g, const Selection& selection,
                       double scale, const std::vector<T>& filter,
                       const std::vector<T>& dy, int64_t threads,
                       InstructionSet instruction_set) {
  const PositionsInputGradient<T> gradient(g, selection, threads,
                                           instruction_set, kCaches);
  NotePaths(gradient.plan());
  const AlignedMemory scratch(gradient.scratch_bytes());
  std::vector<T> result(g.input_size());
  const AlignedMemory in_backprop(result.size() * sizeof(T));
  gradient.Compute(scale, filter.data(), dy.data(), scratch.data,
                   static_cast<T*>(in_backprop.data),
                   threads % 2 == 0 ? RunTogether : RunOneByOne);
  std::memcpy(result.data(), in_backprop.data, result.size() * sizeof(T));
  return result;
}

template <typename T>
void TestAgreesWithTheReference(const Problem& problem, Layout layout,
                                Selection selection, double epsilon) {
  const ConvGeometry g = GeometryOf(problem, layout);
  selection.k = std::min(selection.k, g.positions());
  const std::string what = Describe(g, selection, sizeof(T));
  std::mt19937 generator(7);
  std::vector<double> filter_exact, dy_exact, magnitudes;
  const auto filter =
      RandomValues<T>(g.filter_size() * g.out_depth, &generator, &filter_exact);
  const auto dy = RandomValues<T>(g.output_size(), &generator, &dy_exact);
  const auto expected =
      ReferenceInputGradient(g, selection, 0.5, filter_exact, dy_exact,
                             &magnitudes, std::is_same_v<T, double>);
  for (const InstructionSet set : InstructionSets()) {
    const std::string with = what + ", " + InstructionSetName(set);
    const auto result = Compute<T>(g, selection, 0.5, filter, dy, 1, set);
    CheckAgrees(result, expected, magnitudes, epsilon, with);
    for (const int64_t threads : {2, 7}) {
      const auto again =
          Compute<T>(g, selection, 0.5, filter, dy, threads, set);
      Check(std::memcmp(again.data(), result.data(),
                        result.size() * sizeof(T)) == 0,
            with + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

// A channel of the last example has a value that isn't finite: that example
// shows it, and no other does.
void TestNonFiniteChannelShows(const Problem& problem, Layout layout,
                               SelectionMethod method, float value) {
  const ConvGeometry g = GeometryOf(problem, layout);
  std::mt19937 generator(3);
  std::vector<double> exact;
  const auto filter =
      RandomValues<float>(g.filter_size() * g.out_depth, &generator, &exact);
  auto dy = RandomValues<float>(g.output_size(), &generator, &exact);
  dy[ImageIndex(layout, g.batch - 1, g.out_rows / 2, 0, g.out_depth / 2,
                g.out_rows, g.out_cols, g.out_depth)] = value;
  const Selection selection{method, std::min<int64_t>(2, g.positions()),
                            kStream};
  const std::string what = Describe(g, selection, 4);
  const int64_t last = (g.batch - 1) * (g.input_size() / g.batch);
  for (const InstructionSet set : InstructionSets()) {
    const auto result = Compute<float>(g, selection, 1.0, filter, dy, 2, set);
    bool shows = false;
    for (int64_t i = 0; i < g.input_size(); ++i) {
      const bool is_finite = std::isfinite(result[i]);
      shows = shows || !is_finite;
      Check(is_finite || i >= last, what + ": another example isn't finite");
    }
    Check(shows, what + ": an example hides a NaN or infinity");
  }
}

void TestProblem(const Problem& problem, Layout layout) {
  for (const auto method :
       {SelectionMethod::kLargest, SelectionMethod::kSampled}) {
    const auto selection = [&](int64_t k) {
      return Selection{method, k, kStream};
    };
    for (const int64_t k : {1, 4, 1000}) {
      TestAgreesWithTheReference<float>(problem, layout, selection(k), 1e-6);
    }
    TestAgreesWithTheReference<double>(problem, layout, selection(3), 1e-12);
    TestNonFiniteChannelShows(problem, layout, method, NAN);
    TestNonFiniteChannelShows(problem, layout, method, INFINITY);
  }
  const Selection max{SelectionMethod::kLargest, 2, {}};
  TestAgreesWithTheReference<Bfloat16>(problem, layout, max, 1e-2);
  TestAgreesWithTheReference<Half>(problem, layout, max, 2e-3);
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const Problem& problem : kProblems) TestProblem(problem, layout);
    for (const Problem& problem : kMoreProblems) TestProblem(problem, layout);
  }
  for (const char* path :
       {"tile", "several runs", "clipped", "clipped runs", "general",
        "several chunks", "two vectors", "many vectors"}) {
    // These shapes have two vectors a chunk with AVX-512 alone.
    if (std::string(path) == "two vectors" &&
        ChosenInstructionSet() != InstructionSet::kAvx512) {
      continue;
    }
    Check(RunsOf()[path] > 0, std::string("never taken: ") + path);
  }
  return FailedChecks("cpu/positions/input_gradient_test");
}
