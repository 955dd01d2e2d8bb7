// The product of patches and drawn rows.
//
// A unit has some input channels, some output channels and a piece of the list
// of drawn rows. For kProductRows of them at a time it
//   1. lists, for every tap, where the rows' pixels are, but for those outside;
//   2. packs the rows of dY, weighted, as panels [rows, a tile's vectors];
//   3. multiplies: a tile of input channels by a tile of vectors stays in
//      registers while all rows pass by; a row adds one load for each vector
//      and a broadcast for each channel.
// With few output channels X is read where it lies. With many, or where X must
// be converted, a tap's pixels are gathered first, one line of channels at a
// time: their addresses lie a power of two apart and would drive each other out
// of L1 before the next panel needs them. Meanwhile the next rows' pixels are
// brought closer.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_INL_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_INL_H_

#include <cstdint>
#include <type_traits>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/streaming-inl.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/rows/product_blocks-inl.h"
#include "cc/cpu/rows/product_tiles-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// What a worker has for a unit.
template <typename T>
struct ProductScratch {
  using Accumulator = typename AccumulatorOf<T>::type;

  // [2, KH * KW]
  RowsOfTap<T>* taps;
  // Panels one after the other, each for kProductRows.
  Accumulator* panels;
  // [kProductRows, kGathered]
  Accumulator* gathered;
  // [KH * KW, in_channels, padded out_channels]
  Accumulator* sums;
};

template <typename T>
int64_t ProductWorkerBytes(const ConvGeometry& g, const ProductPlan& plan) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const int64_t size = sizeof(Accumulator);
  const int64_t padded = PaddedChannels<Accumulator>(plan.out_channels);
  return LineBytes(2 * g.taps() * sizeof(RowsOfTap<T>)) +
         LineBytes(kProductRows * padded * size) +
         LineBytes(kProductRows * kGathered * size) +
         LineBytes(g.taps() * plan.in_channels * padded * size);
}

template <typename T>
ProductScratch<T> ScratchOf(const ConvGeometry& g, const ProductPlan& plan,
                            void* scratch) {
  using Accumulator = typename AccumulatorOf<T>::type;
  char* bytes = static_cast<char*>(scratch);
  const int64_t padded = PaddedChannels<Accumulator>(plan.out_channels);
  ProductScratch<T> own;
  own.taps = reinterpret_cast<RowsOfTap<T>*>(bytes);
  bytes += LineBytes(2 * g.taps() * sizeof(RowsOfTap<T>));
  own.panels = reinterpret_cast<Accumulator*>(bytes);
  bytes += LineBytes(kProductRows * padded * sizeof(Accumulator));
  own.gathered = reinterpret_cast<Accumulator*>(bytes);
  bytes += LineBytes(kProductRows * kGathered * sizeof(Accumulator));
  own.sums = reinterpret_cast<Accumulator*>(bytes);
  return own;
}

template <bool kStream, typename T, typename Accumulator>
void WriteUnitSums(const ProductTask<T>& task, int64_t first_in,
                   int64_t in_channels, int64_t first_out, int64_t out_channels,
                   const Accumulator* sums, int64_t stride) {
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  for (int64_t tap = 0; tap < g.taps(); ++tap) {
    for (int64_t c = 0; c < in_channels; ++c) {
      T* out = task.filter_backprop +
               (tap * g.in_depth + first_in + c) * g.out_depth + first_out;
      int64_t co = 0;
      for (; co + kWidth <= out_channels; co += kWidth) {
        if constexpr (kStream) {
          StreamLine(LoadVector(sums + co), out + co);
        } else {
          Accumulator values[kWidth];
          StoreVector(LoadVector(sums + co), values);
          for (int lane = 0; lane < kWidth; ++lane) {
            out[co + lane] = Store<T>(values[lane]);
          }
        }
      }
      for (; co < out_channels; ++co) out[co] = Store<T>(sums[co]);
      sums += stride;
    }
  }
  if constexpr (kStream) EndStreaming();
}

// Whether a unit's part of dF is written past the caches: whole lines alone.
template <typename T>
bool StreamsFilter(const ProductTask<T>& task) {
  using Accumulator = typename AccumulatorOf<T>::type;
  return kCanStream && sizeof(T) == sizeof(Accumulator) &&
         task.plan.streams_filter &&
         task.g.out_depth % kLanes<Accumulator> == 0 &&
         reinterpret_cast<uintptr_t>(task.filter_backprop) % 64 == 0;
}

template <typename T>
void MultiplyUnit(const ProductTask<T>& task, int64_t unit, void* scratch) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  const ProductPlan& plan = task.plan;
  const int64_t out_chunk = unit % plan.out_chunks;
  const int64_t in_chunk = unit / plan.out_chunks % plan.in_chunks;
  const int64_t piece = unit / plan.out_chunks / plan.in_chunks;
  const int64_t first_in = in_chunk * plan.in_channels;
  const int64_t in_end = first_in + plan.in_channels < g.in_depth
                             ? first_in + plan.in_channels
                             : g.in_depth;
  const int64_t first_out = out_chunk * plan.out_channels;
  const int64_t out_channels = g.out_depth - first_out < plan.out_channels
                                   ? g.out_depth - first_out
                                   : plan.out_channels;
  const int64_t padded = PaddedChannels<Accumulator>(out_channels);
  const ProductScratch<T> own = ScratchOf<T>(g, plan, scratch);
  const int64_t tap_size = (in_end - first_in) * padded;

  const int64_t piece_rows = plan.piece_blocks * kProductRows;
  const int64_t begin = piece * piece_rows;
  const int64_t piece_end =
      piece + 1 == plan.pieces ? task.rows.count : begin + piece_rows;
  const int64_t end = piece_end < task.rows.count ? piece_end : task.rows.count;
  if (begin >= end) {
    for (int64_t i = 0; i < g.taps() * tap_size; ++i) own.sums[i] = 0;
  }
  RowsOfBlock<T> blocks[2];
  blocks[0].taps = own.taps;
  blocks[1].taps = own.taps + g.taps();
  const auto prepare = [&](int64_t block, RowsOfBlock<T>* rows) {
    const int64_t block_end =
        block + kProductRows < end ? block + kProductRows : end;
    CollectRows(task, block, block_end, rows);
    ListPixels(task, rows);
  };
  if (begin < end) prepare(begin, &blocks[0]);
  const bool is_gathered =
      !std::is_same<T, Accumulator>::value || padded > kMostInPlace * kWidth;
  const int64_t in_step = is_gathered ? kGathered : in_end - first_in;
  const int64_t panels = (padded + 2 * kWidth - 1) / (2 * kWidth);
  const int64_t turns =
      g.taps() * ((in_end - first_in + in_step - 1) / in_step) * panels;
  for (int64_t block = begin; block < end; block += kProductRows) {
    const RowsOfBlock<T>& rows = blocks[0];
    const bool is_last = block + kProductRows >= end;
    PackRows(task, rows, first_out, out_channels, own.panels);
    if (is_last) {
      blocks[1].count = 0;
    } else {
      prepare(block + kProductRows, &blocks[1]);
    }
    LaterRows<T> later(task, blocks[1], first_out, out_channels, turns);
    for (int64_t tap = 0; tap < g.taps(); ++tap) {
      const RowsOfTap<T>& pixels = rows.taps[tap];
      const RowsOfTap<T>& later_pixels = blocks[1].taps[tap];
      TileRows<Accumulator> tile_rows{};
      tile_rows.count = pixels.count;
      tile_rows.gathered = own.gathered;
      tile_rows.in_turn = rows.whole;
      tile_rows.place = pixels.place;
      tile_rows.is_first = block == begin;
      if constexpr (std::is_same<T, Accumulator>::value) {
        tile_rows.pixels = pixels.pixel;
        tile_rows.later = later_pixels.pixel;
      }
      Accumulator* sums = own.sums + tap * tap_size;
      for (int64_t c = first_in; c < in_end; c += in_step) {
        const int64_t channels = in_end - c < in_step ? in_end - c : in_step;
        if (is_gathered) GatherPixels(pixels, c, channels, own.gathered);
        for (int64_t panel = 0; panel < panels; ++panel) {
          const int64_t co = panel * 2 * kWidth;
          const bool has_two = padded - co > kWidth;
          tile_rows.panel = own.panels + co * kProductRows;
          later.Fetch();
          if (is_gathered) {
            if (!is_last) {
              FetchPixels(later_pixels, pixels.count, c, panel, panels);
            }
            MultiplyPanel<Pixels::kGathered>(tile_rows, has_two, 0, channels,
                                             sums + co, padded);
          } else if (is_last || panel > 0) {
            MultiplyPanel<Pixels::kInPlace>(tile_rows, has_two, first_in,
                                            in_end, sums + co, padded);
          } else {
            MultiplyPanel<Pixels::kInPlaceFetchingLater>(
                tile_rows, has_two, first_in, in_end, sums, padded);
          }
        }
        sums += in_step * padded;
      }
    }
    const RowsOfBlock<T> done = blocks[0];
    blocks[0] = blocks[1];
    blocks[1].taps = done.taps;
  }
  if (plan.pieces == 1) {
    auto write_sums = &WriteUnitSums<false, T, Accumulator>;
    if constexpr (sizeof(T) == sizeof(Accumulator)) {
      if (StreamsFilter(task))
        write_sums = &WriteUnitSums<true, T, Accumulator>;
    }
    write_sums(task, first_in, in_end - first_in, first_out, out_channels,
               own.sums, padded);
    return;
  }
  const Accumulator* sums = own.sums;
  for (int64_t tap = 0; tap < g.taps(); ++tap) {
    for (int64_t c = first_in; c < in_end; ++c) {
      __builtin_memcpy(
          task.piece_sums +
              ((piece * g.taps() + tap) * g.in_depth + c) * g.out_depth +
              first_out,
          sums, out_channels * sizeof(Accumulator));
      sums += padded;
    }
  }
}

template <typename T>
void AddPieces(const ProductTask<T>& task, int64_t begin, int64_t end) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const int64_t size = task.g.filter_size() * task.g.out_depth;
  for (int64_t i = begin; i < end; ++i) {
    Accumulator sum = task.piece_sums[i];
    for (int64_t piece = 1; piece < task.plan.pieces; ++piece) {
      sum += task.piece_sums[piece * size + i];
    }
    task.filter_backprop[i] = Store<T>(sum);
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_INL_H_
