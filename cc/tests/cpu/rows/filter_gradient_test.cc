// The row-sampled method's kernels against a double-precision reference: all
// types, layouts, instruction sets and numbers of workers, over shapes that
// take every path. Needs no TensorFlow. Every buffer has exactly the documented
// size, so that a sanitizer sees the first element too far.

#include "cc/cpu/rows/filter_gradient.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/rows/gathered_rows.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/tests/check.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/common/rows_reference.h"
#include "cc/tests/cpu/runs.h"

namespace tf_approxgrad {
namespace {

constexpr double kUniform = 0.3;

template <typename T>
std::vector<T> Compute(const ConvGeometry& g, const RowSampling& sampling,
                       const std::vector<T>& x, const std::vector<T>& dy,
                       int64_t threads, InstructionSet instruction_set) {
  const RowsFilterGradient<T> gradient(g, sampling, threads, instruction_set);
  const AlignedMemory scratch(gradient.scratch_bytes());
  std::vector<T> result(g.filter_size() * g.out_depth);
  gradient.Compute(0.5, kUniform, x.data(), dy.data(), scratch.data,
                   result.data(), threads % 2 == 0 ? RunTogether : RunOneByOne);
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
  std::vector<double> x_exact, dy_exact, magnitudes;
  const auto x = RandomValues<T>(g.input_size(), &generator, &x_exact);
  const auto dy = RandomValues<T>(g.output_size(), &generator, &dy_exact);
  const auto expected = ReferenceRowGradient(g, sampling, 0.5, kUniform,
                                             x_exact, dy_exact, &magnitudes);
  for (const InstructionSet set : InstructionSets()) {
    const std::string with = what + ", " + InstructionSetName(set);
    const auto result = Compute<T>(g, sampling, x, dy, 1, set);
    CheckAgrees(result, expected, magnitudes, epsilon, with);
    for (const int64_t threads : {2, 3, 16}) {
      const auto again = Compute<T>(g, sampling, x, dy, threads, set);
      Check(std::memcmp(again.data(), result.data(),
                        result.size() * sizeof(T)) == 0,
            with + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

// Sizes, rows and weights, of values whose squares round in double.
void TestEverySetSamplesTheSame(const Problem& problem, Layout layout) {
  const ConvGeometry g = GeometryOf(problem, layout);
  const RowSampling sampling{std::max<int64_t>(1, g.batch * g.positions() / 3),
                             true, true};
  std::mt19937 generator(5);
  std::normal_distribution<double> normal;
  std::vector<double> x(g.input_size()), dy(g.output_size());
  for (auto* values : {&x, &dy}) {
    for (double& value : *values) value = normal(generator);
  }
  std::vector<double> first;
  for (const InstructionSet set : InstructionSets()) {
    const GatheredRows<double> samples(g, sampling,
                                       KernelsFor<RowsKernels<double>>(set));
    const AlignedMemory scratch(samples.scratch_bytes());
    std::vector<double> sampled(sampling.draws *
                                (g.filter_size() + g.out_depth));
    samples.Compute(kUniform, x.data(), dy.data(), scratch.data, sampled.data(),
                    sampled.data() + sampling.draws * g.filter_size());
    if (first.empty()) first = sampled;
    Check(sampled == first, DescribeRows(g, sampling, sizeof(double)) + ", " +
                                InstructionSetName(set) + ": other bits");
  }
}

// X is infinite where dY is zero: drawing such a row would show.
void TestRowsOfZerosAreNotDrawn(Layout layout, bool keep_largest) {
  const ConvGeometry g = GeometryOf({5, 9, 7, 17, 20, 1, 1}, layout);
  std::mt19937 generator(3);
  std::vector<double> exact;
  auto x = RandomValues<float>(g.input_size(), &generator, &exact);
  auto dy = RandomValues<float>(g.output_size(), &generator, &exact);
  for (int64_t row = 0; row < g.batch * g.positions(); ++row) {
    if (row % 3 != 1) continue;
    for (int64_t co = 0; co < g.out_depth; ++co)
      dy[OutputIndex(g, row, co)] = 0;
    for (int64_t ci = 0; ci < g.in_depth; ++ci) {
      ForEachTap(g, row / g.positions(), row % g.positions(), ci,
                 [&](int64_t, int64_t at) { x[at] = INFINITY; });
    }
  }
  const RowSampling sampling{g.batch * g.positions() * 9 / 10, false,
                             keep_largest};
  for (const InstructionSet set : InstructionSets()) {
    for (const float value : Compute<float>(g, sampling, x, dy, 2, set)) {
      if (!std::isfinite(value)) {
        Check(false,
              DescribeRows(g, sampling, 4) + ": a row of zeros is drawn");
        break;
      }
    }
  }
}

void TestZerosGiveZeros(const Problem& problem, Layout layout,
                        bool keep_largest) {
  const ConvGeometry g = GeometryOf(problem, layout);
  const std::vector<float> x(g.input_size(), INFINITY);
  const std::vector<float> dy(g.output_size());
  const RowSampling sampling{1, false, keep_largest};
  for (const float value :
       Compute<float>(g, sampling, x, dy, 2, ChosenInstructionSet())) {
    if (value != 0) {
      Check(false, DescribeRows(g, sampling, 4) + ": zeros don't give zeros");
      break;
    }
  }
}

template <typename T>
void TestNonFiniteShowsEverywhere(const Problem& problem, Layout layout,
                                  float value) {
  const ConvGeometry g = GeometryOf(problem, layout);
  std::mt19937 generator(3);
  std::vector<double> exact;
  const auto x = RandomValues<T>(g.input_size(), &generator, &exact);
  for (const bool by_product : {false, true}) {
    for (const bool keep_largest : {false, true}) {
      auto dy = RandomValues<T>(g.output_size(), &generator, &exact);
      dy[OutputIndex(g, g.batch * g.positions() / 2, g.out_depth - 1)] =
          Store<T>(value);
      const RowSampling sampling{1, by_product, keep_largest};
      for (const T result :
           Compute<T>(g, sampling, x, dy, 2, ChosenInstructionSet())) {
        if (std::isfinite(Load(result))) {
          Check(false, DescribeRows(g, sampling, sizeof(T)) +
                           ": a NaN or infinity is hidden");
          break;
        }
      }
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  for (const Problem& problem : kProblems) {
    for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
      for (const double share : {0.0, 0.125, 0.9}) {
        TestAgreesWithTheReference<float>(problem, layout, share, false, false,
                                          1e-6);
        TestAgreesWithTheReference<float>(problem, layout, share, true, true,
                                          1e-6);
      }
      TestAgreesWithTheReference<double>(problem, layout, 0.3, false, true,
                                         1e-12);
      TestAgreesWithTheReference<Bfloat16>(problem, layout, 0.3, true, false,
                                           1e-2);
      TestAgreesWithTheReference<Half>(problem, layout, 0.3, false, false,
                                       2e-3);
      TestEverySetSamplesTheSame(problem, layout);
      TestZerosGiveZeros(problem, layout, false);
      TestZerosGiveZeros(problem, layout, true);
      TestNonFiniteShowsEverywhere<float>(problem, layout, NAN);
      TestNonFiniteShowsEverywhere<Half>(problem, layout, INFINITY);
    }
  }
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    TestRowsOfZerosAreNotDrawn(layout, false);
    TestRowsOfZerosAreNotDrawn(layout, true);
  }
  return FailedChecks("cpu/rows/filter_gradient_test");
}
