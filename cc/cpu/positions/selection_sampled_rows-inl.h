// How the selection of sampled reads dY, in both layouts.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_SAMPLED_ROWS_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_SAMPLED_ROWS_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/selection_max-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Rows that are read at once from planes.
constexpr int kPieceRows = 16;

// NHWC: rows of neighbouring channels, of which the last vector ends after
// `count` if kPartial.
template <bool kPartial, typename T>
class RowsOfChannels {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  RowsOfChannels(const T* values, int64_t row_stride, int count)
      : values_(values), row_stride_(row_stride), count_(count) {}

  void Prepare(int64_t first, int64_t) {
    piece_ = values_ + first * row_stride_;
  }

  // A vector of row `row` of the piece that was prepared.
  Vector<Accumulator> Read(int64_t row, int vector) const {
    const T* values = piece_ + row * row_stride_ + vector * kLanes<Accumulator>;
    __builtin_prefetch(values + kRowsAhead * row_stride_);
    return ReadRow<kPartial>(values, count_);
  }

  Accumulator ValueAt(int64_t row, int64_t lane) const {
    return Load(values_[row * row_stride_ + lane]);
  }

 private:
  const T* values_;
  int64_t row_stride_;
  int count_;
  const T* piece_ = nullptr;
};

// NCHW: neighbouring planes, turned so that each is a lane. Lanes beyond
// `planes` repeat the last.
template <typename T>
class RowsOfPlanes {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  RowsOfPlanes(const T* values, int64_t positions, int planes)
      : values_(values), positions_(positions), planes_(planes) {}

  void Prepare(int64_t first, int64_t rows) {
    constexpr int kWidth = kLanes<Accumulator>;
    int64_t row = 0;
    for (; row + kWidth <= rows; row += kWidth) {
      Vector<Accumulator> square[kWidth];
#pragma GCC unroll 16
      for (int lane = 0; lane < kWidth; ++lane) {
        square[lane] = LoadVector(PlaneOf(lane) + first + row);
      }
      Transpose<Accumulator>(square);
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) piece_[row + i] = square[i];
    }
    for (; row < rows; ++row) {
      for (int lane = 0; lane < kWidth; ++lane) {
        piece_[row][lane] = Load(PlaneOf(lane)[first + row]);
      }
    }
  }

  Vector<Accumulator> Read(int64_t row, int) const { return piece_[row]; }

  Accumulator ValueAt(int64_t row, int64_t lane) const {
    return Load(values_[lane * positions_ + row]);
  }

 private:
  const T* PlaneOf(int lane) const {
    return values_ + Smaller(lane, planes_ - 1) * positions_;
  }

  const T* values_;
  int64_t positions_;
  int planes_;
  Vector<Accumulator> piece_[kPieceRows];
};

// Calls `use` with each of the rows [first, end): what Read takes for it.
template <typename Rows, typename Use>
inline __attribute__((always_inline)) void ForEachRow(int64_t first,
                                                      int64_t end, Rows* rows,
                                                      const Use& use) {
  for (; first < end; first += kPieceRows) {
    const int64_t count = Smaller(kPieceRows, end - first);
    rows->Prepare(first, count);
    for (int64_t row = 0; row < count; ++row) use(row);
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_SAMPLED_ROWS_INL_H_
