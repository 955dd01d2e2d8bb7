// Which rows the row-sampled method draws: the arithmetic of the draw, in
// double precision and in an order that neither threads nor instruction sets
// change. A row is one position of one example, r = n * Ho * Wo + p.
//
// With size[r] >= 0 a row's size, Q the sum of all and C[r] their running sum,
// `draws` rows are drawn by systematic sampling: row r owns the places from
// floor(draws * C[r-1] / Q + u) up to floor(draws * C[r] / Q + u) of the list
// of drawn rows. So each part of the list can be written by itself, once C is
// known at the first row of each block of kRowBlock rows.

#ifndef TF_APPROXGRAD_CC_KERNELS_ROW_DRAW_H_
#define TF_APPROXGRAD_CC_KERNELS_ROW_DRAW_H_

#include <cstdint>

namespace tf_approxgrad {

// Rows of a unit, and of the parts of it whose sums are made at the same time:
// an addition waits for the one before.
constexpr int64_t kRowBlock = 256;
constexpr int64_t kRowPart = 64;

// How often the limit of the largest rows is lowered; as in
// tf_approxgrad/row_sampling.py.
constexpr int kLimitPasses = 8;

inline int64_t RowBlocks(int64_t rows) {
  return (rows + kRowBlock - 1) / kRowBlock;
}

inline int64_t RowParts(int64_t rows) {
  return (rows + kRowPart - 1) / kRowPart;
}

// The number in [0, 1) that (seed, layer, step) stands for: the first 53 bits
// of block 0 of Philox4x32-10 (random_normal.h) under a key whose high word
// differs by "ROWS" from that of the normal numbers.
double UniformOf(uint64_t seed, uint32_t layer, uint64_t step);

// The limit at which no row would be drawn more than once: the rows of at least
// the limit drawn once each, the others share what remains of the draws.
double LimitOfLargest(const double* size, int64_t rows, int64_t draws);

// What a whole draw follows from.
struct RowDraw {
  // Rows to draw, and the most places that they take.
  int64_t draws = 0;
  double total = 0;
  double uniform = 0;
  // draws / total; 0 where nothing can be drawn.
  double rate = 0;
  bool is_finite = true;

  // The place at which the rows up to a running sum end.
  int64_t EndOf(double running_sum) const;
};

// Writes the sum of each part of the blocks [begin, end).
void SumParts(const double* size, int64_t rows, int64_t begin, int64_t end,
              double* part_sums);

// Turns the sums of all parts into the running sum before each, with the total
// behind the last, so that there are RowParts(rows) + 1 of them.
void AddUpParts(int64_t parts, double* part_sums);

// Writes the places of the rows of the blocks [begin, end) into `drawn`.
void DrawRows(const RowDraw& draw, const double* size, int64_t rows,
              const double* running_sums, int64_t begin, int64_t end,
              int64_t* drawn);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_ROW_DRAW_H_
