// The Winograd filter gradient against a double-precision reference: all
// instruction sets and numbers of workers, over shapes that take every path.
// Needs no TensorFlow. Every buffer has exactly the documented size, so that a
// sanitizer sees the first element too far.

#include "cc/cpu/winograd/filter_gradient.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/tests/check.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/cpu/runs.h"
#include "cc/tests/cpu/winograd/cases.h"

namespace tf_approxgrad {
namespace {

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
  TestAllCases(
      {Compute, Reference,
       [](const ConvGeometry& g) { return g.input_size(); }},
      {kPieces, kOneBlock, kBlocks, Convolution(40, 14, 14, 20, 33, 1, 1),
       Convolution(40, 2, 2, 70, 40, 1, 1),
       Convolution(1, 1, 300, 8, 8, 1, 1)});
  return FailedChecks("cpu/winograd/filter_gradient_test");
}
