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
#include "cc/common/row_draw.h"
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

// Drawn tiles, one of them twice, against all tiles of a dY that is multiplied
// by their weights, and zero elsewhere.
void TestDrawnTiles(const ConvGeometry& g) {
  const auto x = DrawValues(g.input_size(), OfMeanThree, 1);
  const auto dy = DrawValues(g.output_size(), Normal, 2);
  const WinogradTiles map = CutIntoTiles(g);
  // A tile's weight is 1 over its size.
  std::vector<double> size(map.tiles);
  std::vector<int64_t> tiles{map.tiles / 2};
  std::vector<float> of_tiles(map.tiles);
  for (int64_t tile = 0; tile < map.tiles; tile += 1 + tile % 3) {
    tiles.push_back(tile);
  }
  for (const int64_t tile : tiles) {
    size[tile] = 1 / (0.5 - static_cast<double>(tile % 5));
    of_tiles[tile] += static_cast<float>(1 / size[tile]);
  }
  const DrawnRows drawn{size.data(), tiles.data(),
                        static_cast<int64_t>(tiles.size()), 1};
  auto weighted = dy;
  for (int64_t p = 0; p < g.batch * g.positions(); ++p) {
    const int64_t n = p / g.positions();
    const int64_t row = p % g.positions() / g.out_cols / kTilePixels;
    const int64_t col = p % g.out_cols / kTilePixels;
    const float weight =
        of_tiles[(n * map.tile_rows + row) * map.tile_cols + col];
    for (int64_t co = 0; co < g.out_depth; ++co) {
      weighted[p * g.out_depth + co] *= weight;
    }
  }
  const auto expected = Reference(g, x, weighted);
  for (const InstructionSet set : InstructionSets()) {
    std::vector<float> first;
    for (const int64_t threads : {1, 3}) {
      const WinogradFilterGradient gradient(g, threads, set, drawn.count);
      const AlignedMemory scratch(gradient.scratch_bytes());
      std::vector<float> result(g.filter_size() * g.out_depth, NAN);
      gradient.Compute(x.data(), dy.data(), scratch.data, result.data(),
                       RunOneByOne, &drawn);
      const double error = RelativeError(result, expected);
      Check(error <= kLargestError,
            Describe(g) + ", drawn tiles, " + InstructionSetName(set) +
                ": relative error " + std::to_string(error * 1e6) + "e-6");
      if (first.empty()) first = result;
      Check(result == first, Describe(g) + ": threads change drawn tiles");
    }
  }
}

void TestNoDrawnTileIsZero() {
  const ConvGeometry g = Convolution(2, 5, 5, 3, 4, 1, 1);
  const auto x = DrawValues(g.input_size(), Normal, 1);
  const auto dy = DrawValues(g.output_size(), Normal, 2);
  const WinogradFilterGradient gradient(g, 1, ChosenInstructionSet(), 0);
  std::vector<float> result(g.filter_size() * g.out_depth, NAN);
  gradient.Compute(x.data(), dy.data(), nullptr, result.data(), RunOneByOne);
  Check(result == std::vector<float>(result.size()), "no tile isn't zero");
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
  for (const ConvGeometry& g :
       {kPieces, kOneBlock, kBlocks, Convolution(3, 9, 6, 5, 7, 2, 1),
        Convolution(5, 2, 3, 17, 3, 1, 1), Convolution(2, 7, 7, 3, 40, 0, 0)}) {
    TestDrawnTiles(g);
  }
  TestNoDrawnTileIsZero();
  return FailedChecks("cpu/winograd/filter_gradient_test");
}
