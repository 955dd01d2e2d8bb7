// Where tiles lie in the maps and in the panels.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_TILES_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_TILES_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/cpu/winograd/points-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

template <typename Plan>
inline int64_t EndOfBlock(const Plan& plan, int64_t block) {
  const int64_t end = (block + 1) * plan.block_tiles;
  return end < plan.tiles ? end : plan.tiles;
}

// A tile's first pixel and its size.
struct TileOfMap {
  int64_t image;
  int64_t row;
  int64_t col;
  int rows;
  int cols;
};

inline int TileSize(int64_t begin, int64_t end) {
  return end - begin < kTilePixels ? static_cast<int>(end - begin)
                                   : kTilePixels;
}

inline TileOfMap FindTile(const ConvGeometry& g, const WinogradTiles& tiles,
                          int64_t index) {
  const int64_t line = index / tiles.tile_cols;
  TileOfMap tile;
  tile.image = line / tiles.tile_rows;
  tile.row = line % tiles.tile_rows * kTilePixels;
  tile.col = index % tiles.tile_cols * kTilePixels;
  tile.rows = TileSize(tile.row, g.out_rows);
  tile.cols = TileSize(tile.col, g.out_cols);
  return tile;
}

inline void NextTile(const ConvGeometry& g, TileOfMap* tile) {
  tile->col += kTilePixels;
  if (tile->col >= g.out_cols) {
    tile->col = 0;
    tile->row += kTilePixels;
    if (tile->row >= g.out_rows) {
      tile->row = 0;
      ++tile->image;
    }
    tile->rows = TileSize(tile->row, g.out_rows);
  }
  tile->cols = TileSize(tile->col, g.out_cols);
}

inline bool HasPoint(int pixels, int point) {
  return point >= PointsBegin(pixels) && point < PointsEnd(pixels);
}

// How many of the first `index` tiles have the plane of two points. Only the
// last tile of an axis may lack some.
inline int64_t TilesBefore(const WinogradTiles& tiles, int64_t index,
                           int row_point, int col_point) {
  const int64_t rows = tiles.tile_rows - !HasPoint(tiles.last_rows, row_point);
  const int64_t cols = tiles.tile_cols - !HasPoint(tiles.last_cols, col_point);
  const int64_t line = index / tiles.tile_cols;
  const int64_t row = line % tiles.tile_rows;
  return (line / tiles.tile_rows * rows + row) * cols +
         (row < rows ? index % tiles.tile_cols : 0);
}

// A tile's row in each plane's panels, if `first` has the first.
inline void PlacesOfTile(const WinogradTiles& tiles, int64_t first,
                         int64_t index, int64_t* places) {
  // The first of the points that the same tiles have.
  constexpr int kSame[kPoints] = {0, 0, 2, 2, 2, 5};
  for (int row = 0; row < kPoints; ++row) {
    for (int col = 0; col < kPoints; ++col) {
      const int plane = row * kPoints + col;
      const int same = kSame[row] * kPoints + kSame[col];
      places[plane] = same < plane ? places[same]
                                   : TilesBefore(tiles, index, row, col) -
                                         TilesBefore(tiles, first, row, col);
    }
  }
}

// The pixels of `input` that a tile meets, kPoints a row; zeros outside. Always
// whole rows, without branches.
inline void ListInPixels(const ConvGeometry& g, const float* input,
                         const float* zeros, const TileOfMap& tile,
                         const float** pixels) {
  const int64_t first_row = tile.row - g.pad_top;
  const int64_t first_col = tile.col - g.pad_left;
  for (int i = 0; i < tile.rows + 2; ++i) {
    const int64_t row = first_row + i;
    const uint64_t cols = row >= 0 && row < g.in_rows ? g.in_cols : 0;
    int64_t place =
        ((tile.image * g.in_rows + row) * g.in_cols + first_col) * g.in_depth;
#pragma GCC unroll 6
    for (int j = 0; j < kPoints; ++j) {
      const bool is_inside = static_cast<uint64_t>(first_col + j) < cols;
      pixels[i * kPoints + j] = is_inside ? input + place : zeros;
      place += g.in_depth;
    }
  }
}

// The pixels of `output` of a whole tile; zeros outside the map.
inline void ListWholeTile(const ConvGeometry& g, const float* output,
                          const float* zeros, const TileOfMap& tile,
                          const float** pixels) {
  for (int i = 0; i < kTilePixels; ++i) {
    const int64_t row = tile.row + i;
    const int64_t line = (tile.image * g.out_rows + row) * g.out_cols;
    for (int j = 0; j < kTilePixels; ++j) {
      const int64_t col = tile.col + j;
      const bool is_inside = row < g.out_rows && col < g.out_cols;
      pixels[i * kPoints + j] =
          is_inside ? output + (line + col) * g.out_depth : zeros;
    }
  }
}

// The tile's own pixels of `output`.
template <typename Element>
inline void ListOutPixels(const ConvGeometry& g, Element* output,
                          const TileOfMap& tile, Element** pixels) {
  for (int i = 0; i < tile.rows; ++i) {
    const int64_t line =
        (tile.image * g.out_rows + tile.row + i) * g.out_cols + tile.col;
    for (int j = 0; j < tile.cols; ++j) {
      pixels[i * kPoints + j] = output + (line + j) * g.out_depth;
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_TILES_INL_H_
