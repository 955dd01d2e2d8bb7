// The selection of max with 1 < k <= kMostSorted.
//
// Each lane keeps its largest magnitudes and their rows in descending order,
// earlier rows first on ties. A row enters with one comparison for each slot
// and no branch. The values themselves are read again at the end rather than
// moved along.
//
// On a small map most rows enter some lane. One vector is scanned at a time,
// its slots in registers, and rows are looked at by fours: the branch over four
// that enter no lane is taken so seldom that it is hardly mispredicted. On a
// large map few rows enter, and what counts is to read whole pieces of memory:
// several vectors are scanned together, with the slots in the L1 cache.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_MAX_SORTED_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_MAX_SORTED_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/selection_max-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

constexpr int kMostSorted = 16;

constexpr int kRowsAtOnce = 4;

// Rows of a large map, at least.
constexpr int64_t kManyRows = 512;

// The slots of a vector of lanes.
template <int kSlots, typename Accumulator>
struct SortedLanes {
  Vector<Accumulator> magnitude[kSlots];
  Integers<Accumulator> row[kSlots];

  inline __attribute__((always_inline)) void Clear() {
#pragma GCC unroll 16
    for (int j = 0; j < kSlots; ++j) {
      // An empty slot loses to zero.
      magnitude[j] = Broadcast<Accumulator>(-1);
      row[j] = Integers<Accumulator>{};
    }
  }

  // From the last slot to the first: what is smaller moves back by one, and the
  // newcomer takes the slot behind the last that isn't.
  inline __attribute__((always_inline)) void Enter(
      Vector<Accumulator> size, Integers<Accumulator> number) {
    Mask<Accumulator> enters = Greater(size, magnitude[kSlots - 1]);
#pragma GCC unroll 16
    for (int j = kSlots - 1; j > 0; --j) {
      const Mask<Accumulator> before = Greater(size, magnitude[j - 1]);
      magnitude[j] =
          Select(enters, Select(before, magnitude[j - 1], size), magnitude[j]);
      row[j] = Select(enters, Select(before, row[j - 1], number), row[j]);
      enters = before;
    }
    magnitude[0] = Select(enters, size, magnitude[0]);
    row[0] = Select(enters, number, row[0]);
  }
};

// Sorts the rows of one vector, and returns their sum. A NaN never enters, but
// it is in the sum.
template <int kSlots, bool kPartial, typename T, typename Accumulator>
Vector<Accumulator> SortRows(const T* values, int64_t rows, int64_t row_stride,
                             int count,
                             SortedLanes<kSlots, Accumulator>* sorted) {
  SortedLanes<kSlots, Accumulator> lanes;
  lanes.Clear();
  Vector<Accumulator> sum{};
  Integers<Accumulator> number{};
  int64_t row = 0;
  for (; row + kRowsAtOnce <= rows; row += kRowsAtOnce) {
    Vector<Accumulator> size[kRowsAtOnce];
    Vector<Accumulator> largest = Broadcast<Accumulator>(-1);
#pragma GCC unroll 4
    for (int i = 0; i < kRowsAtOnce; ++i) {
      const T* row_values = values + (row + i) * row_stride;
      __builtin_prefetch(row_values + kRowsAhead * row_stride);
      const Vector<Accumulator> value = ReadRow<kPartial>(row_values, count);
      sum += value;
      size[i] = Magnitudes<Accumulator>(value);
      largest = Select(Greater(size[i], largest), size[i], largest);
    }
    if (AnyLane(Greater(largest, lanes.magnitude[kSlots - 1]))) {
#pragma GCC unroll 4
      for (int i = 0; i < kRowsAtOnce; ++i) lanes.Enter(size[i], number + i);
    }
    number += kRowsAtOnce;
  }
  for (; row < rows; ++row, number += 1) {
    const Vector<Accumulator> value =
        ReadRow<kPartial>(values + row * row_stride, count);
    sum += value;
    lanes.Enter(Magnitudes<Accumulator>(value), number);
  }
  *sorted = lanes;
  return sum;
}

// The same for kVectors neighbouring vectors of many rows.
template <int kSlots, int kVectors, typename T, typename Accumulator>
void SortManyRows(const T* values, int64_t rows, int64_t row_stride,
                  SortedLanes<kSlots, Accumulator>* sorted, Accumulator* sums) {
  constexpr int kWidth = kLanes<Accumulator>;
  Vector<Accumulator> sum[kVectors];
  Vector<Accumulator> last[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    sorted[v].Clear();
    sum[v] = Vector<Accumulator>{};
    last[v] = Broadcast<Accumulator>(-1);
  }
  Integers<Accumulator> number{};
  for (int64_t row = 0; row < rows; ++row, number += 1) {
    const T* row_values = values + row * row_stride;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      __builtin_prefetch(row_values + kRowsAhead * row_stride + v * kWidth);
      const Vector<Accumulator> value = LoadVector(row_values + v * kWidth);
      sum[v] += value;
      const Vector<Accumulator> size = Magnitudes<Accumulator>(value);
      if (AnyLane(Greater(size, last[v]))) {
        sorted[v].Enter(size, number);
        last[v] = sorted[v].magnitude[kSlots - 1];
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) StoreVector(sum[v], sums + v * kWidth);
}

// kVectors vectors of neighbouring NHWC channels, `width` channels in all, with
// k <= kSlots.
template <int kSlots, int kVectors, bool kPartial, typename T,
          typename Accumulator>
void KeepSorted(const T* values, const ConvGeometry& g, int64_t co, int width,
                int64_t k, const PatchWriter<Accumulator>& writer) {
  constexpr int kWidth = kLanes<Accumulator>;
  SortedLanes<kSlots, Accumulator> sorted[kVectors];
  Accumulator sums[kVectors * kWidth];
  if (kVectors > 1 && g.positions() >= kManyRows) {
    SortManyRows<kSlots, kVectors>(values, g.positions(), g.out_depth, sorted,
                                   sums);
  } else {
    for (int v = 0; v < kVectors; ++v) {
      StoreVector(SortRows<kSlots, kPartial>(values + v * kWidth, g.positions(),
                                             g.out_depth, width, &sorted[v]),
                  sums + v * kWidth);
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    const int first = v * kWidth;
    WeightedPatch<Accumulator>* patches = writer.OfChannel(co + first);
    const int lanes = kPartial ? width : kWidth;
    for (int lane = 0; lane < lanes; ++lane) {
      Accumulator kept = 0;
      for (int64_t j = 0; j < k; ++j) {
        const auto row = static_cast<int32_t>(sorted[v].row[j][lane]);
        const Accumulator value =
            Load(values[row * g.out_depth + first + lane]);
        patches[j] = {writer.PlaceOf(row), value};
        kept += value;
      }
      const Accumulator share =
          (sums[first + lane] - kept) / static_cast<Accumulator>(k);
      for (int64_t j = 0; j < k; ++j) patches[j].weight += share;
      patches += writer.channel_stride();
    }
  }
}

template <int kVectors, bool kPartial, typename T, typename Accumulator>
void KeepSorted(const T* values, const ConvGeometry& g, int64_t co, int width,
                int64_t k, const PatchWriter<Accumulator>& writer) {
  // The first k of more slots are the k largest.
  if (k <= 2) {
    KeepSorted<2, kVectors, kPartial>(values, g, co, width, k, writer);
  } else if (k <= 4) {
    KeepSorted<4, kVectors, kPartial>(values, g, co, width, k, writer);
  } else if (k <= 8) {
    KeepSorted<8, kVectors, kPartial>(values, g, co, width, k, writer);
  } else {
    KeepSorted<kMostSorted, kVectors, kPartial>(values, g, co, width, k,
                                                writer);
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_MAX_SORTED_INL_H_
