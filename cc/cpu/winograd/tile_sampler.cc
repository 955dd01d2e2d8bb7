#include "cc/cpu/winograd/tile_sampler.h"

#include <algorithm>
#include <cmath>

#include "cc/common/integer_math.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/useful_workers.h"
#include "cc/cpu/rows/row_squares.h"
#include "cc/cpu/winograd/points-inl.h"
#include "cc/cpu/winograd/tiles-inl.h"

namespace tf_approxgrad {
namespace {

using namespace TF_APPROXGRAD_TARGET;

// How often a tile's positions and the taps meet at a pixel, along an axis.
int64_t Meetings(int64_t pixel, int64_t positions) {
  return std::min(pixel, positions - 1) -
         std::max<int64_t>(pixel - kTaps + 1, 0) + 1;
}

}  // namespace

TileSampler::TileSampler(const ConvGeometry& geometry, int64_t draws,
                         int64_t threads, InstructionSet instruction_set)
    : geometry_(geometry),
      draws_(draws),
      tiles_(CutIntoTiles(geometry)),
      kernels_(KernelsFor<RowsKernels<float>>(instruction_set)),
      workers_(UsefulWorkers(
          static_cast<double>(geometry.input_size() + geometry.output_size()),
          threads)) {}

TileSampler::Scratch TileSampler::LayOut(ScratchLayout* layout) const {
  const ConvGeometry& g = geometry_;
  Scratch own;
  own.draw = LayOutDraw(tiles_.tiles, draws_, layout);
  layout->Place(&own.in_sums, g.batch * g.in_rows * g.in_cols);
  layout->Place(&own.out_sums, g.batch * g.positions());
  return own;
}

int64_t TileSampler::scratch_bytes() const {
  ScratchLayout layout(nullptr);
  LayOut(&layout);
  return layout.bytes();
}

double TileSampler::SquareOf(int64_t index, const Scratch& own) const {
  const ConvGeometry& g = geometry_;
  const TileOfMap tile = FindTile(g, tiles_, index);
  double of_output = 0;
  for (int64_t i = 0; i < tile.rows; ++i) {
    const double* line =
        own.out_sums + (tile.image * g.out_rows + tile.row + i) * g.out_cols;
    for (int64_t j = 0; j < tile.cols; ++j) of_output += line[tile.col + j];
  }
  // A pixel of X counts as often as the tile's patches have it.
  const int64_t top = tile.row - g.pad_top;
  const int64_t left = tile.col - g.pad_left;
  double of_patches = 0;
  for (int64_t i = 0; i < tile.rows + kTaps - 1; ++i) {
    if (top + i < 0 || top + i >= g.in_rows) continue;
    const double* line =
        own.in_sums + (tile.image * g.in_rows + top + i) * g.in_cols;
    double of_line = 0;
    for (int64_t j = 0; j < tile.cols + kTaps - 1; ++j) {
      if (left + j < 0 || left + j >= g.in_cols) continue;
      of_line += static_cast<double>(Meetings(j, tile.cols)) * line[left + j];
    }
    of_patches += static_cast<double>(Meetings(i, tile.rows)) * of_line;
  }
  return of_output * of_patches;
}

bool TileSampler::Draw(double uniform, const float* input,
                       const float* out_backprop, void* scratch,
                       const RunWorkers& run_workers, DrawnRows* drawn) const {
  const ConvGeometry& g = geometry_;
  ScratchLayout layout(scratch);
  const Scratch own = LayOut(&layout);
  const int64_t rows = g.batch * g.positions();
  RowSquares<float> squares(g, kernels_, input, out_backprop, own.in_sums);
  UnitQueue measuring(DivideUp(rows, kRowBlock), 4);
  SystematicDraw draw(tiles_.tiles, draws_, true, uniform, kernels_, own.draw);
  run_workers(workers_, [&] {
    squares.MeasurePixels();
    measuring.Run([&](int64_t begin, int64_t end) {
      squares.MeasureRows(begin * kRowBlock, std::min(end * kRowBlock, rows),
                          own.out_sums);
    });
    draw.Run([&](int64_t begin, int64_t end, double* size) {
      for (int64_t tile = begin; tile < end; ++tile) {
        size[tile] = std::sqrt(SquareOf(tile, own));
      }
    });
  });
  *drawn = draw.is_finite() ? draw.drawn_rows(1) : DrawnRows{};
  return draw.is_finite();
}

}  // namespace tf_approxgrad
