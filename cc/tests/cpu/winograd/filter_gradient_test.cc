// The Winograd filter gradient against a double-precision reference: all
// instruction sets and numbers of workers, over shapes that take every path.
// Needs no TensorFlow. Every buffer has exactly the documented size, so that a
// sanitizer sees the first element too far.

#include "cc/cpu/winograd/filter_gradient.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/tests/check.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/cpu/runs.h"

namespace tf_approxgrad {
namespace {

// Frobenius norm of the error over that of the gradient.
constexpr double kLargestError = 3e-6;

ConvGeometry Convolution(int64_t batch, int64_t rows, int64_t cols,
                         int64_t in_depth, int64_t out_depth, int64_t before,
                         int64_t after) {
  return GeometryOf({batch, rows, cols, in_depth, out_depth, 3, 3, 1, 1, 1, 1,
                     before, after, before, after},
                    Layout::kNHWC);
}

// Pieces of the tiles, and panels that are shared in one block and in several.
const ConvGeometry kPieces = Convolution(7, 45, 47, 12, 20, 1, 1);
const ConvGeometry kOneBlock = Convolution(3, 14, 14, 100, 66, 1, 1);
const ConvGeometry kBlocks = Convolution(40, 7, 6, 100, 130, 1, 1);

void TestTheShapesTakeEveryPath() {
  for (const InstructionSet set : InstructionSets()) {
    const int64_t width = KernelsFor<WinogradKernels>(set).panel_width;
    const WinogradPlan pieces = PlanWinograd(kPieces, width);
    Check(!pieces.shares_panels && pieces.pieces > 1 && pieces.piece_blocks > 1,
          "no pieces of several blocks");
    const WinogradPlan one_block = PlanWinograd(kOneBlock, width);
    Check(one_block.shares_panels && one_block.blocks == 1 &&
              one_block.chunks() > 1,
          "no shared block of several chunks");
    const WinogradPlan blocks = PlanWinograd(kBlocks, width);
    Check(blocks.shares_panels && blocks.blocks > 1, "no shared blocks");
  }
}

using Draw = std::function<double(std::mt19937*)>;

double Normal(std::mt19937* generator) {
  return std::normal_distribution<double>()(*generator);
}
double Relu(std::mt19937* generator) {
  return std::max(Normal(generator), 0.0);
}
double OfMeanThree(std::mt19937* generator) { return 3 + Normal(generator); }

std::vector<float> Values(int64_t count, const Draw& draw, int seed) {
  std::mt19937 generator(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(draw(&generator));
  return values;
}

std::vector<double> Reference(const ConvGeometry& g,
                              const std::vector<float>& x,
                              const std::vector<float>& dy) {
  std::vector<double> gradient(g.filter_size() * g.out_depth);
  for (int64_t n = 0; n < g.batch; ++n) {
    for (int64_t p = 0; p < g.positions(); ++p) {
      const float* y = dy.data() + (n * g.positions() + p) * g.out_depth;
      for (int64_t ci = 0; ci < g.in_depth; ++ci) {
        ForEachTap(g, n, p, ci, [&](int64_t tap, int64_t at) {
          double* sums =
              gradient.data() + (tap * g.in_depth + ci) * g.out_depth;
          const double value = x[at];
          for (int64_t co = 0; co < g.out_depth; ++co)
            sums[co] += value * y[co];
        });
      }
    }
  }
  return gradient;
}

std::vector<float> Compute(const ConvGeometry& g, const std::vector<float>& x,
                           const std::vector<float>& dy, int64_t threads,
                           InstructionSet set) {
  const WinogradFilterGradient gradient(g, threads, set);
  const AlignedMemory scratch(gradient.scratch_bytes());
  std::vector<float> result(g.filter_size() * g.out_depth, NAN);
  gradient.Compute(x.data(), dy.data(), scratch.data, result.data(),
                   threads % 2 == 0 ? RunTogether : RunOneByOne);
  return result;
}

double RelativeError(const std::vector<float>& result,
                     const std::vector<double>& expected) {
  double error = 0;
  double norm = 0;
  for (size_t i = 0; i < result.size(); ++i) {
    error += (result[i] - expected[i]) * (result[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return norm == 0 ? error : std::sqrt(error / norm);
}

void TestAgreesWithTheReference(const ConvGeometry& g, const Draw& draw_x) {
  const auto x = Values(g.input_size(), draw_x, 1);
  const auto dy = Values(g.output_size(), Normal, 2);
  const auto expected = Reference(g, x, dy);
  for (const InstructionSet set : InstructionSets()) {
    const std::string what = Describe(g) + ", padded by " +
                             std::to_string(g.pad_top) + ", " +
                             InstructionSetName(set);
    const auto result = Compute(g, x, dy, 1, set);
    const double error = RelativeError(result, expected);
    Check(error <= kLargestError,
          what + ": relative error " + std::to_string(error * 1e6) + "e-6");
    for (const int64_t threads : {2, 3, 8}) {
      const auto again = Compute(g, x, dy, threads, set);
      Check(result.empty() || std::memcmp(again.data(), result.data(),
                                          result.size() * sizeof(float)) == 0,
            what + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

// Wherever dense isn't finite, this isn't either.
void TestNonFiniteShows(const ConvGeometry& g, float value, bool in_x) {
  auto x = Values(g.input_size(), Normal, 1);
  auto dy = Values(g.output_size(), Normal, 2);
  auto* values = in_x ? &x : &dy;
  for (const double place : {0.0, 0.37, 0.99}) {
    const auto before = *values;
    (*values)[static_cast<size_t>(place *
                                  static_cast<double>(values->size()))] = value;
    const auto expected = Reference(g, x, dy);
    for (const InstructionSet set : InstructionSets()) {
      const auto result = Compute(g, x, dy, 2, set);
      for (size_t i = 0; i < result.size(); ++i) {
        if (!std::isfinite(expected[i]) && std::isfinite(result[i])) {
          Check(false, Describe(g) + ": a NaN or infinity in " +
                           (in_x ? "X" : "dY") + " is hidden");
          break;
        }
      }
    }
    *values = before;
  }
}

void TestAppliesToItsConvolutionsAlone() {
  const ConvGeometry g = Convolution(2, 5, 5, 4, 4, 1, 1);
  Check(WinogradApplies(g), "doesn't apply to 3x3");
  const auto is_refused = [&](const char* what, auto change) {
    ConvGeometry other = g;
    change(&other);
    Check(!WinogradApplies(other), std::string("applies to ") + what);
  };
  is_refused("NCHW", [](auto* o) { o->layout = Layout::kNCHW; });
  is_refused("1x3", [](auto* o) { o->filter_rows = 1; });
  is_refused("3x5", [](auto* o) { o->filter_cols = 5; });
  is_refused("row strides", [](auto* o) { o->stride_rows = 2; });
  is_refused("column strides", [](auto* o) { o->stride_cols = 2; });
  is_refused("row dilations", [](auto* o) { o->dilation_rows = 2; });
  is_refused("column dilations", [](auto* o) { o->dilation_cols = 2; });
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  TestAppliesToItsConvolutionsAlone();
  TestTheShapesTakeEveryPath();
  const Draw draws[] = {Normal, Relu, OfMeanThree};
  // Every size of map, with paddings SAME, VALID and others, and channels that
  // fill no vector.
  const std::pair<int64_t, int64_t> paddings[] = {
      {1, 1}, {0, 0}, {2, 1}, {0, 2}, {3, 4}};
  const std::pair<int64_t, int64_t> channels[] = {
      {5, 7}, {1, 1}, {16, 16}, {3, 33}, {40, 2}, {17, 24}, {32, 48}, {7, 65}};
  int draw = 0;
  size_t next = 0;
  for (int64_t size = 1; size <= 15; ++size) {
    for (const auto& [before, after] : paddings) {
      if (size + before + after < 3) continue;
      const auto& [in, out] = channels[next++ % std::size(channels)];
      const int64_t cols = std::max<int64_t>((size * 7 + before) % 16, 3);
      TestAgreesWithTheReference(
          Convolution(3, size, cols, in, out, before, after),
          draws[draw++ % 3]);
    }
  }
  for (const ConvGeometry& g :
       {kPieces, kOneBlock, kBlocks, Convolution(40, 14, 14, 20, 33, 1, 1),
        Convolution(40, 2, 2, 70, 40, 1, 1),
        Convolution(1, 1, 300, 8, 8, 1, 1)}) {
    TestAgreesWithTheReference(g, draws[draw++ % 3]);
  }
  for (const ConvGeometry& empty :
       {Convolution(0, 5, 5, 3, 4, 1, 1), Convolution(2, 0, 5, 3, 4, 2, 2),
        Convolution(2, 5, 0, 3, 4, 2, 2), Convolution(2, 5, 5, 0, 4, 1, 1),
        Convolution(2, 5, 5, 3, 0, 1, 1), Convolution(2, 2, 2, 3, 4, 0, 0)}) {
    TestAgreesWithTheReference(empty, Normal);
  }
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    for (const bool in_x : {false, true}) {
      TestNonFiniteShows(Convolution(2, 7, 6, 5, 9, 1, 1), value, in_x);
      TestNonFiniteShows(Convolution(9, 14, 9, 17, 18, 0, 2), value, in_x);
    }
  }
  return FailedChecks("cpu/winograd/filter_gradient_test");
}
