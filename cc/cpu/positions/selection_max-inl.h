// The selection of max with k = 1.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_MAX_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_MAX_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Vectors of channels that are scanned together.
constexpr int kBlockVectors = 4;

// Rows that the scan asks the memory for in advance. The processor's own
// prefetcher stops at the end of a page, a few rows on.
constexpr int64_t kRowsAhead = 16;

// Reads one vector of neighbouring elements of a row, or, if kPartial, the
// first `count` elements of it where the row ends before the vector does.
template <bool kPartial, typename T>
inline Vector<typename AccumulatorOf<T>::type> ReadRow(const T* values,
                                                       int count) {
  if constexpr (!kPartial) return LoadVector(values);
  T padded[kLanes<typename AccumulatorOf<T>::type>] = {};
  for (int lane = 0; lane < count; ++lane) padded[lane] = values[lane];
  return LoadVector(padded);
}

// Sum, largest magnitude and its row, lane by lane. The strict comparison keeps
// the lowest row on ties; a NaN never wins it, but it is in the sum.
template <typename Accumulator, int kVectors>
struct LaneMaxima {
  Accumulator sum[kVectors * kLanes<Accumulator>];
  Accumulator largest[kVectors * kLanes<Accumulator>];
  int32_t row[kVectors * kLanes<Accumulator>];
};

// `count` is the width of the only vector if kPartial.
template <int kVectors, bool kPartial, typename T, typename Accumulator>
void ScanRows(const T* values, int64_t rows, int64_t row_stride, int count,
              LaneMaxima<Accumulator, kVectors>* maxima) {
  constexpr int kWidth = kLanes<Accumulator>;
  Vector<Accumulator> sum[kVectors];
  Vector<Accumulator> largest[kVectors];
  Integers<Accumulator> largest_row[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    sum[v] = Vector<Accumulator>{};
    largest[v] = Broadcast<Accumulator>(-1);
    largest_row[v] = Integers<Accumulator>{};
  }
  Integers<Accumulator> row_number{};
  for (int64_t row = 0; row < rows; ++row) {
    const T* row_values = values + row * row_stride;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      __builtin_prefetch(row_values + kRowsAhead * row_stride + v * kWidth);
      const Vector<Accumulator> value =
          ReadRow<kPartial>(row_values + v * kWidth, count);
      const Vector<Accumulator> magnitude = Magnitudes<Accumulator>(value);
      const auto greater = Greater(magnitude, largest[v]);
      sum[v] += value;
      largest[v] = Select(greater, magnitude, largest[v]);
      largest_row[v] = Select(greater, row_number, largest_row[v]);
    }
    row_number += 1;
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    StoreVector(sum[v], maxima->sum + v * kWidth);
    StoreVector(largest[v], maxima->largest + v * kWidth);
    for (int lane = 0; lane < kWidth; ++lane) {
      maxima->row[v * kWidth + lane] =
          static_cast<int32_t>(largest_row[v][lane]);
    }
  }
}

// kVectors vectors of neighbouring NHWC channels, of which the last is partial
// if kPartial: `width` channels in all.
template <int kVectors, bool kPartial, typename T, typename Accumulator>
void KeepLargest(const T* values, const ConvGeometry& g, int64_t co, int width,
                 const PatchWriter<Accumulator>& writer) {
  constexpr int kWidth = kLanes<Accumulator>;
  LaneMaxima<Accumulator, kVectors> maxima;
  ScanRows<kVectors, kPartial>(values, g.positions(), g.out_depth, width,
                               &maxima);
  int32_t places[kVectors * kWidth];
  for (int lane = 0; lane < kVectors * kWidth; ++lane) {
    places[lane] = writer.PlaceOf(maxima.row[lane]);
  }
  for (int first = 0; first < width; first += kWidth) {
    WeightedPatch<Accumulator>* patches = writer.OfChannel(co + first);
    const int end = kPartial ? width : first + kWidth;
    for (int lane = first; lane < end; ++lane) {
      *patches = {places[lane], maxima.sum[lane]};
      patches += writer.channel_stride();
    }
  }
}

// One NCHW plane, scanned as if neighbouring positions were channels; the lanes
// are merged at the end.
template <typename T, typename Accumulator>
void KeepLargestOfPlane(const T* values, int64_t count, int64_t co,
                        const PatchWriter<Accumulator>& writer) {
  constexpr int kWidth = kBlockVectors * kLanes<Accumulator>;
  const int64_t rows = count / kWidth;
  LaneMaxima<Accumulator, kBlockVectors> maxima;
  ScanRows<kBlockVectors, false>(values, rows, kWidth, kWidth, &maxima);
  Accumulator sum = 0;
  Accumulator largest = -1;
  int64_t largest_index = 0;
  for (int64_t lane = 0; lane < kWidth; ++lane) {
    sum += maxima.sum[lane];
    const int64_t index = maxima.row[lane] * int64_t{kWidth} + lane;
    if (maxima.largest[lane] > largest ||
        (maxima.largest[lane] == largest && index < largest_index)) {
      largest = maxima.largest[lane];
      largest_index = index;
    }
  }
  for (int64_t index = rows * kWidth; index < count; ++index) {
    const Accumulator value = Load(values[index]);
    sum += value;
    if (Magnitude(value) > largest) {
      largest = Magnitude(value);
      largest_index = index;
    }
  }
  *writer.OfChannel(co) = {writer.PlaceOf(static_cast<int32_t>(largest_index)),
                           sum};
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_MAX_INL_H_
