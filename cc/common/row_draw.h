// Which rows the row-sampled method draws: the arithmetic of the draw, in
// double precision and in an order that neither threads nor instruction sets
// change. A row is one position of one example, r = n * Ho * Wo + p; tiles are
// drawn as rows are.
//
// With size[r] >= 0 a row's size, Q the sum of all and C[r] their running sum,
// `draws` rows are drawn by systematic sampling: row r owns the places from
// floor(draws * C[r-1] / Q + u) up to floor(draws * C[r] / Q + u) of the list
// of drawn rows. So each part of the list can be written by itself, once C is
// known at the first row of each part.
//
// A running sum is made of three: up to the row's group, within the group up to
// the row's part, and within the part, C = group + (part + rows). None of the
// three is long, so that a GPU makes the same sums in as little time, and since
// each begins at zero and the whole of it is what the next level adds, C is the
// same at the end of a part as at the beginning of the next: no place is left
// out or owned twice, and a row of size 0 owns none.

#ifndef TF_APPROXGRAD_CC_COMMON_ROW_DRAW_H_
#define TF_APPROXGRAD_CC_COMMON_ROW_DRAW_H_

#include <cmath>
#include <cstdint>

#include "cc/common/host_device.h"
#include "cc/common/random_stream.h"

namespace tf_approxgrad {

// Rows of a unit, and of the parts of it whose sums are made at the same time:
// an addition waits for the one before.
constexpr int64_t kRowBlock = 256;
constexpr int64_t kRowPart = 64;
constexpr int64_t kRowGroup = 2048;

// How often the limit of the largest rows is lowered; as in
// tf_approxgrad/gradients/xla/rows.py.
constexpr int kLimitPasses = 8;

struct RowSampling {
  // Rows to draw, at least 1.
  int64_t draws = 1;
  // Sizes: the norm of dY, or its product with the norm of the patch of X.
  bool by_product = false;
  // Whether sizes are lowered so that no row is drawn more than once.
  bool keep_largest = false;
};

TF_APPROXGRAD_HOST_DEVICE inline int64_t RowBlocks(int64_t rows) {
  return (rows + kRowBlock - 1) / kRowBlock;
}

TF_APPROXGRAD_HOST_DEVICE inline int64_t RowParts(int64_t rows) {
  return (rows + kRowPart - 1) / kRowPart;
}

TF_APPROXGRAD_HOST_DEVICE inline int64_t RowGroups(int64_t rows) {
  return (rows + kRowGroup - 1) / kRowGroup;
}

// "ROWS" and "TILE", as in tf_approxgrad/gradients: each draw has numbers of
// its own.
constexpr uint32_t kRowsKey = 0x524F5753;
constexpr uint32_t kTilesKey = 0x54494C45;

// The number in [0, 1) that a stream stands for: the first 53 bits of block 0
// of Philox4x32-10 (normal_numbers.h) under a key whose high word differs by
// `key` from that of the normal numbers.
double UniformOf(const RandomStream& stream, uint32_t key);

// What a whole draw follows from.
struct RowDraw {
  // Rows to draw, and the most places that they take.
  int64_t draws = 0;
  double total = 0;
  double uniform = 0;
  // draws / total; 0 where nothing can be drawn.
  double rate = 0;
  bool is_finite = true;

  // Completes a draw that has all but the sum of the sizes.
  TF_APPROXGRAD_HOST_DEVICE void SetTotal(double sum) {
    // False for NaN as well.
    is_finite = sum < HUGE_VAL;
    total = sum;
    const double quotient = static_cast<double>(draws) / sum;
    rate = quotient < HUGE_VAL ? quotient : 0;
  }

  // The place at which the rows up to a running sum end.
  TF_APPROXGRAD_HOST_DEVICE int64_t EndOf(double running_sum) const {
    const int64_t end = static_cast<int64_t>(running_sum * rate + uniform);
    return end < draws ? end : draws;
  }
  // Places that are drawn for, the first ones.
  TF_APPROXGRAD_HOST_DEVICE int64_t drawn() const { return EndOf(total); }
  // A drawn row's weight is this over its size.
  TF_APPROXGRAD_HOST_DEVICE double weight() const {
    return total / static_cast<double>(draws);
  }
};

// The rows that a call has drawn, in ascending order, a row as often as it was.
struct DrawnRows {
  const double* size = nullptr;
  const int64_t* drawn = nullptr;
  int64_t count = 0;
  // A drawn row's weight is this over its size.
  double weight = 0;
};

// What a pass that lowers the limit of the largest rows finds.
struct LimitSums {
  // The sum of the sizes below the limit, and the number of the others.
  double below;
  int64_t whole;
};

// The limit that a pass leads to; the same if another pass would find the same.
TF_APPROXGRAD_HOST_DEVICE inline double LowerLimit(double limit,
                                                   const LimitSums& found,
                                                   int64_t draws) {
  if (found.whole >= draws || !(found.below > 0)) return limit;
  const double share = found.below / static_cast<double>(draws - found.whole);
  return share < limit ? share : limit;
}

// Turns the sums of all parts into the running sum before each within its
// group, and writes the running sum before each group, with the total behind
// the last, so that there are groups + 1 of them.
void AddUpParts(int64_t parts, double* part_sums, double* group_sums);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_COMMON_ROW_DRAW_H_
