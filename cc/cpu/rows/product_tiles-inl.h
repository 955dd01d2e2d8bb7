// The hot loop of the row-sampled product; product-inl.h says how tiles make a
// unit.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_TILES_INL_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_TILES_INL_H_

#include <cstdint>

#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

constexpr bool kManyRegisters = TF_APPROXGRAD_VECTOR_BYTES == 64;
// Of a tile with two vectors, and with one.
constexpr int kChannelsOfTwo = kManyRegisters ? 8 : 4;
constexpr int kChannelsOfOne = kManyRegisters ? 16 : 8;
// Input channels that are gathered at a time: a cache line of floats.
constexpr int64_t kGathered = 16;
// Vectors of output channels up to which X is read where it lies. Beyond,
// pixels that are gathered once for all of them are worth it.
constexpr int64_t kMostInPlace = 4;

template <typename Accumulator>
inline int64_t PaddedChannels(int64_t channels) {
  constexpr int64_t kWidth = kLanes<Accumulator>;
  return (channels + kWidth - 1) / kWidth * kWidth;
}

// The rows that a tile meets.
template <typename Accumulator>
struct TileRows {
  int64_t count;
  // Where each row's pixel is, and those of as many rows that come later: X is
  // read in no order that the processor could foresee.
  const Accumulator* const* pixels;
  const Accumulator* const* later;
  // The pixels' channels themselves if they are gathered, [count, kGathered].
  const Accumulator* gathered;
  // The first rows lie in the panel one after the other, the others at places
  // that are listed.
  int64_t in_turn;
  const int32_t* place;
  const Accumulator* panel;
  // Whether nothing has been added to the sums yet.
  bool is_first;
};

// Where a tile finds X: gathered, or where it lies; and whether it asks for
// what comes later.
enum class Pixels { kGathered, kInPlace, kInPlaceFetchingLater };

template <int kChannels, int kVectors, Pixels kPixels, typename Accumulator>
__attribute__((noinline)) void MultiplyTile(const TileRows<Accumulator>& rows,
                                            int64_t channel, Accumulator* sums,
                                            int64_t stride) {
  constexpr int kWidth = kLanes<Accumulator>;
  Vector<Accumulator> tile[kChannels][kVectors] = {};
  const Accumulator* gathered = rows.gathered + channel;
  const auto add = [&](int64_t row, const Accumulator* values)
      __attribute__((always_inline)) {
    const Accumulator* x = gathered;
    if constexpr (kPixels == Pixels::kGathered) {
      gathered = InRegister(gathered + kGathered);
    } else {
      x = InRegister(rows.pixels[row] + channel);
    }
    if constexpr (kPixels == Pixels::kInPlaceFetchingLater) {
      __builtin_prefetch(rows.later[row] + channel, 0, 2);
    }
    Vector<Accumulator> y[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) y[v] = LoadVector(values + v * kWidth);
#pragma GCC unroll 16
    for (int c = 0; c < kChannels; ++c) {
      const Vector<Accumulator> value = Broadcast(x[c]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) tile[c][v] += value * y[v];
    }
  };
  const Accumulator* panel = rows.panel;
  int64_t row = 0;
  for (; row < rows.in_turn; ++row) {
    add(row, panel);
    panel += kVectors * kWidth;
  }
  for (; row < rows.count; ++row) {
    add(row, rows.panel + rows.place[row] * int64_t{kVectors * kWidth});
  }
#pragma GCC unroll 16
  for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Accumulator* out = sums + c * stride + v * kWidth;
      StoreVector(rows.is_first ? tile[c][v] : LoadVector(out) + tile[c][v],
                  out);
    }
  }
}

template <int kChannels, int kVectors, Pixels kPixels, typename Accumulator>
inline void MultiplyTiles(const TileRows<Accumulator>& rows, int64_t begin,
                          int64_t end, Accumulator* sums, int64_t stride) {
  int64_t c = begin;
  for (; c + kChannels <= end; c += kChannels) {
    MultiplyTile<kChannels, kVectors, kPixels>(rows, c, sums, stride);
    sums += kChannels * stride;
  }
  if constexpr (kChannels > 1) {
    if (c < end) {
      MultiplyTiles<kChannels / 2, kVectors, kPixels>(rows, c, end, sums,
                                                      stride);
    }
  }
}

// The channels [begin, end) of all rows with a panel of two vectors, or one.
template <Pixels kPixels, typename Accumulator>
inline void MultiplyPanel(const TileRows<Accumulator>& rows, bool has_two,
                          int64_t begin, int64_t end, Accumulator* sums,
                          int64_t stride) {
  if (has_two) {
    MultiplyTiles<kChannelsOfTwo, 2, kPixels>(rows, begin, end, sums, stride);
  } else {
    MultiplyTiles<kChannelsOfOne, 1, kPixels>(rows, begin, end, sums, stride);
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_TILES_INL_H_
