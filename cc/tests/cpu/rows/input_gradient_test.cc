// The row-sampled method's input gradient against a double-precision reference:
// all types, layouts, instruction sets and numbers of workers, over shapes that
// take every path. Needs no TensorFlow. Every buffer has exactly the documented
// size, so that a sanitizer sees the first element too far.

#include "cc/cpu/rows/input_gradient.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/tests/check.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/common/rows_reference.h"
#include "cc/tests/cpu/runs.h"

namespace tf_approxgrad {
namespace {

constexpr double kUniform = 0.3;

// Several panels, and several groups of several examples.
constexpr Problem kMoreProblems[] = {
    {40, 4, 3, 100, 140, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 11, 9, 18, 4, 2, 2, 3, 3, 1, 1, 0, 0, 0, 0},
};

// How often each path has been taken.
std::map<std::string, int>& RunsOf() {
  static std::map<std::string, int> runs;
  return runs;
}

template <typename T>
std::vector<T> Compute(const ConvGeometry& g, const RowSampling& sampling,
                       const std::vector<T>& x, const std::vector<T>& filter,
                       const std::vector<T>& dy, int64_t threads,
                       InstructionSet instruction_set) {
  const RowsInputGradient<T> gradient(g, sampling, threads, instruction_set);
  const InputProductPlan& plan = gradient.plan();
  if (plan.chunks > 1) ++RunsOf()["several chunks"];
  if (plan.chunk_panels > 1) ++RunsOf()["several panels"];
  if (plan.groups > 1 && plan.group_images > 1) ++RunsOf()["several groups"];
  const AlignedMemory scratch(gradient.scratch_bytes());
  std::vector<T> result(g.input_size());
  gradient.Compute(0.5, kUniform, x.data(), filter.data(), dy.data(),
                   scratch.data, result.data(),
                   threads % 2 == 0 ? RunTogether : RunOneByOne);
  return result;
}

template <typename T>
void TestAgreesWithTheReference(const Problem& problem, Layout layout,
                                double share, bool by_product,
                                bool keep_largest, double epsilon) {
  const ConvGeometry g = GeometryOf(problem, layout);
  const auto rows = static_cast<double>(g.batch * g.positions());
  const RowSampling sampling{
      std::max<int64_t>(1, static_cast<int64_t>(share * rows)), by_product,
      keep_largest};
  const std::string what = DescribeRows(g, sampling, sizeof(T));
  std::mt19937 generator(7);
  std::vector<double> x_exact, filter_exact, dy_exact, magnitudes;
  const auto x = RandomValues<T>(g.input_size(), &generator, &x_exact);
  const auto filter =
      RandomValues<T>(g.filter_size() * g.out_depth, &generator, &filter_exact);
  const auto dy = RandomValues<T>(g.output_size(), &generator, &dy_exact);
  const auto expected = ReferenceRowInputGradient(
      g, sampling, 0.5, kUniform, x_exact, filter_exact, dy_exact, &magnitudes);
  for (const InstructionSet set : InstructionSets()) {
    const std::string with = what + ", " + InstructionSetName(set);
    const auto result = Compute<T>(g, sampling, x, filter, dy, 1, set);
    CheckAgrees(result, expected, magnitudes, epsilon, with);
    for (const int64_t threads : {2, 7}) {
      const auto again = Compute<T>(g, sampling, x, filter, dy, threads, set);
      Check(std::memcmp(again.data(), result.data(),
                        result.size() * sizeof(T)) == 0,
            with + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

void TestNonFiniteShowsEverywhere(const Problem& problem, Layout layout,
                                  float value) {
  const ConvGeometry g = GeometryOf(problem, layout);
  const std::vector<float> x(g.input_size(), 1);
  const std::vector<float> filter(g.filter_size() * g.out_depth, 1);
  std::vector<float> dy(g.output_size(), 1);
  dy[OutputIndex(g, g.batch * g.positions() / 2, g.out_depth - 1)] = value;
  for (const bool by_product : {false, true}) {
    const RowSampling sampling{1, by_product, false};
    for (const float result : Compute<float>(g, sampling, x, filter, dy, 2,
                                             ChosenInstructionSet())) {
      if (std::isfinite(result)) {
        Check(false,
              DescribeRows(g, sampling, 4) + ": a NaN or infinity is hidden");
        break;
      }
    }
  }
}

void TestZerosGiveZeros(const Problem& problem, Layout layout,
                        bool keep_largest) {
  const ConvGeometry g = GeometryOf(problem, layout);
  const std::vector<float> x(g.input_size(), 1);
  const std::vector<float> filter(g.filter_size() * g.out_depth, INFINITY);
  const std::vector<float> dy(g.output_size());
  const RowSampling sampling{1, false, keep_largest};
  for (const float value :
       Compute<float>(g, sampling, x, filter, dy, 2, ChosenInstructionSet())) {
    if (value != 0) {
      Check(false, DescribeRows(g, sampling, 4) + ": zeros don't give zeros");
      break;
    }
  }
}

void TestProblem(const Problem& problem, Layout layout) {
  for (const double share : {0.0, 0.125, 0.9}) {
    TestAgreesWithTheReference<float>(problem, layout, share, false, false,
                                      1e-6);
  }
  TestAgreesWithTheReference<float>(problem, layout, 0.3, true, true, 1e-6);
  TestAgreesWithTheReference<double>(problem, layout, 0.3, false, true, 1e-12);
  TestAgreesWithTheReference<Bfloat16>(problem, layout, 0.3, true, false, 1e-2);
  TestAgreesWithTheReference<Half>(problem, layout, 0.3, false, false, 2e-3);
  TestZerosGiveZeros(problem, layout, false);
  TestZerosGiveZeros(problem, layout, true);
  TestNonFiniteShowsEverywhere(problem, layout, NAN);
  TestNonFiniteShowsEverywhere(problem, layout, INFINITY);
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
       {"several chunks", "several panels", "several groups"}) {
    Check(RunsOf()[path] > 0, std::string("never taken: ") + path);
  }
  return FailedChecks("cpu/rows/input_gradient_test");
}
