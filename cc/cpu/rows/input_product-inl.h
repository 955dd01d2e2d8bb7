// The product of drawn rows and the filter, and its scatter.
//
// For kProductRows drawn rows of a unit's examples at a time it
//   1. packs their dY, weighted, output channel by output channel, in blocks of
//      kGathered rows;
//   2. notes for every tap where in the unit's sums each row's pixel is;
//   3. for every tap and panel of input channels multiplies the rows by the
//      packed filter, with MultiplyTile, whose rows are here output channels
//      and whose channels are rows, and adds the products to the pixels.
// Output channels go by kProductRows, so that a panel stays in L1 while all
// blocks of rows pass by. Pixels outside the input share one that is not read.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_INPUT_PRODUCT_INL_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_INPUT_PRODUCT_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/input_write-inl.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/rows/product_blocks-inl.h"
#include "cc/cpu/rows/product_tiles-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

template <typename Accumulator>
struct InputProductScratch {
  // [group_images, H, W, chunk], and the pixel for what lies outside.
  Accumulator* sums;
  // [kProductRows / kGathered, Co, kGathered]
  Accumulator* rows;
  // [kProductRows, panel]
  Accumulator* products;
  // [KH * KW, kProductRows], in elements of `sums`.
  int64_t* places;
};

// Where the parts of it begin, in bytes. Not a ScratchLayout: see
// vectors-inl.h.
struct InputProductOffsets {
  int64_t rows, products, places, end;
};

template <typename Accumulator>
inline InputProductOffsets OffsetsOf(const ConvGeometry& g,
                                     const InputProductPlan& plan) {
  const int64_t size = sizeof(Accumulator);
  const int64_t pixels = plan.group_images * g.in_rows * g.in_cols + 1;
  InputProductOffsets at;
  at.rows = LineBytes(pixels * plan.chunk() * size);
  at.products = at.rows + LineBytes(kProductRows * g.out_depth * size);
  at.places = at.products + LineBytes(kProductRows * plan.panel * size);
  at.end = at.places + LineBytes(g.taps() * kProductRows * 8);
  return at;
}

template <typename T>
int64_t InputProductWorkerBytes(const ConvGeometry& g,
                                const InputProductPlan& plan) {
  return OffsetsOf<typename AccumulatorOf<T>::type>(g, plan).end;
}

template <typename Accumulator>
inline InputProductScratch<Accumulator> ScratchOf(const ConvGeometry& g,
                                                  const InputProductPlan& plan,
                                                  void* scratch) {
  const InputProductOffsets at = OffsetsOf<Accumulator>(g, plan);
  char* bytes = static_cast<char*>(scratch);
  return {reinterpret_cast<Accumulator*>(bytes),
          reinterpret_cast<Accumulator*>(bytes + at.rows),
          reinterpret_cast<Accumulator*>(bytes + at.products),
          reinterpret_cast<int64_t*>(bytes + at.places)};
}

// Drawn rows, each once, and their weights.
template <typename Accumulator>
struct WeightedRows {
  int64_t count = 0;
  int64_t row[kProductRows];
  Accumulator weight[kProductRows];
};

// The rows [first, first + count) of a block, at most kGathered, as
// [Co, kGathered].
template <typename T, typename Accumulator>
void PackRowsByChannel(const ConvGeometry& g, const T* out_backprop,
                       const int64_t* row, const Accumulator* weight,
                       int64_t count, Accumulator* packed) {
  constexpr int kWidth = kLanes<Accumulator>;
  const bool nhwc = g.layout == Layout::kNHWC;
  const int64_t channel_stride = nhwc ? 1 : g.positions();
  const T* values[kGathered];
  for (int64_t i = 0; i < count; ++i) {
    const int64_t image = row[i] / g.positions();
    values[i] = out_backprop +
                (nhwc ? row[i] * g.out_depth
                      : row[i] + image * g.positions() * (g.out_depth - 1));
  }
  int64_t i = 0;
  for (; nhwc && i + kWidth <= count; i += kWidth) {
    int64_t co = 0;
    for (; co + kWidth <= g.out_depth; co += kWidth) {
      Vector<Accumulator> square[kWidth];
#pragma GCC unroll 16
      for (int j = 0; j < kWidth; ++j) {
        square[j] = LoadVector(values[i + j] + co) * Broadcast(weight[i + j]);
      }
      Transpose<Accumulator>(square);
#pragma GCC unroll 16
      for (int j = 0; j < kWidth; ++j) {
        StoreVector(square[j], packed + (co + j) * kGathered + i);
      }
    }
    for (; co < g.out_depth; ++co) {
      for (int j = 0; j < kWidth; ++j) {
        packed[co * kGathered + i + j] =
            Load(values[i + j][co]) * weight[i + j];
      }
    }
  }
  for (; i < count; ++i) {
    for (int64_t co = 0; co < g.out_depth; ++co) {
      packed[co * kGathered + i] =
          Load(values[i][co * channel_stride]) * weight[i];
    }
  }
}

// `first_image` is the first of the unit.
template <typename Accumulator>
void ListPlaces(const ConvGeometry& g, const InputProductPlan& plan,
                const WeightedRows<Accumulator>& rows, int64_t first_image,
                int64_t* places) {
  const int64_t outside = plan.group_images * g.in_rows * g.in_cols;
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t image = rows.row[i] / g.positions();
    const int64_t position = rows.row[i] - image * g.positions();
    const int64_t out_row = position / g.out_cols;
    const int64_t top = out_row * g.stride_rows - g.pad_top;
    const int64_t left =
        (position - out_row * g.out_cols) * g.stride_cols - g.pad_left;
    int64_t* place = places + i;
    for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
      const int64_t row = top + kh * g.dilation_rows;
      for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
        const int64_t col = left + kw * g.dilation_cols;
        const bool inside =
            row >= 0 && row < g.in_rows && col >= 0 && col < g.in_cols;
        const int64_t pixel =
            inside ? ((image - first_image) * g.in_rows + row) * g.in_cols + col
                   : outside;
        *place = pixel * plan.chunk();
        place += kProductRows;
      }
    }
  }
}

// The products of all rows with one tap of one panel.
template <typename T, typename Accumulator>
void MultiplyByTap(const InputProductTask<T>& task, int64_t count,
                   const Accumulator* filter,
                   const InputProductScratch<Accumulator>& own) {
  const int64_t panel = task.plan.panel;
  const int64_t out_depth = task.g.out_depth;
  for (int64_t co = 0; co < out_depth; co += kProductRows) {
    const int64_t channels =
        out_depth - co < kProductRows ? out_depth - co : kProductRows;
    for (int64_t first = 0; first < count; first += kGathered) {
      TileRows<Accumulator> tile_rows{};
      tile_rows.count = tile_rows.in_turn = channels;
      tile_rows.gathered = own.rows + first * out_depth + co * kGathered;
      tile_rows.panel = filter + co * panel;
      tile_rows.is_first = co == 0;
      const int64_t rows =
          count - first < kGathered ? count - first : kGathered;
      MultiplyPanel<Pixels::kGathered>(tile_rows, panel > kLanes<Accumulator>,
                                       0, rows, own.products + first * panel,
                                       panel);
    }
  }
}

template <typename T>
void MultiplyInputUnit(const InputProductTask<T>& task, int64_t unit,
                       int64_t begin, int64_t end, void* scratch) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  const InputProductPlan& plan = task.plan;
  const int64_t chunk = unit / plan.groups;
  const int64_t first_image = unit % plan.groups * plan.group_images;
  const int64_t images = g.batch - first_image < plan.group_images
                             ? g.batch - first_image
                             : plan.group_images;
  const int64_t image_size = g.in_rows * g.in_cols * plan.chunk();
  const InputProductScratch<Accumulator> own =
      ScratchOf<Accumulator>(g, plan, scratch);
  __builtin_memset(own.sums, 0, images * image_size * sizeof(Accumulator));
  WeightedRows<Accumulator> rows;
  for (int64_t place = begin; place < end;) {
    const int64_t block_end =
        end - place < kProductRows ? end : place + kProductRows;
    for (rows.count = 0; place < block_end; ++rows.count) {
      rows.row[rows.count] = task.rows.drawn[place];
      rows.weight[rows.count] =
          TakeRow<Accumulator>(task.rows, block_end, &place);
    }
    for (int64_t first = 0; first < rows.count; first += kGathered) {
      const int64_t count =
          rows.count - first < kGathered ? rows.count - first : kGathered;
      PackRowsByChannel(g, task.out_backprop, rows.row + first,
                        rows.weight + first, count,
                        own.rows + first * g.out_depth);
    }
    ListPlaces(g, plan, rows, first_image, own.places);
    for (int64_t tap = 0; tap < g.taps(); ++tap) {
      for (int64_t p = 0; p < plan.chunk_panels; ++p) {
        const int64_t panel = chunk * plan.chunk_panels + p;
        if (panel >= task.packed.chunks) break;
        MultiplyByTap(task, rows.count,
                      task.packed_filter + panel * task.packed.chunk_stride +
                          tap * task.packed.tap_stride,
                      own);
        const Accumulator* product = own.products;
        for (int64_t i = 0; i < rows.count; ++i) {
          Accumulator* sums =
              own.sums + own.places[tap * kProductRows + i] + p * plan.panel;
          for (int64_t c = 0; c < plan.panel; c += kWidth) {
            StoreVector(LoadVector(sums + c) + LoadVector(product + c),
                        sums + c);
          }
          product += plan.panel;
        }
      }
    }
  }
  const int64_t first_in = chunk * plan.chunk();
  const int64_t left = g.in_depth - first_in;
  const int64_t channels = left < plan.chunk() ? left : plan.chunk();
  for (int64_t n = 0; n < images; ++n) {
    const SummedImage<Accumulator> image{
        own.sums + n * image_size, g.in_cols * plan.chunk(), plan.chunk()};
    WriteImage(g, image, first_in, channels, Accumulator{1},
               plan.streams_result,
               task.in_backprop +
                   (first_image + n) * g.in_rows * g.in_cols * g.in_depth);
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_INPUT_PRODUCT_INL_H_
