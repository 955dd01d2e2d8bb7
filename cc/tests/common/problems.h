// The shapes and values on which the methods that keep positions are tested, on
// the CPU and on a GPU.

#ifndef TF_APPROXGRAD_CC_TESTS_COMMON_PROBLEMS_H_
#define TF_APPROXGRAD_CC_TESTS_COMMON_PROBLEMS_H_

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"

namespace tf_approxgrad {

struct Problem {
  int64_t batch, rows, cols, in_depth, out_depth, filter_rows, filter_cols;
  int64_t stride_rows = 1, stride_cols = 1;
  int64_t dilation_rows = 1, dilation_cols = 1;
  // Zeros before and after each axis.
  int64_t top = 0, bottom = 0, left = 0, right = 0;
};

inline constexpr Problem kProblems[] = {
    {3, 5, 7, 4, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 9, 6, 33, 17, 3, 3, 2, 1, 1, 1, 0, 1, 1, 1},
    {5, 6, 5, 16, 20, 2, 3, 1, 2, 2, 1, 1, 1, 0, 1},
    {2, 8, 9, 48, 5, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2},
    {1, 11, 10, 3, 4, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3},
    {4, 4, 3, 100, 33, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    // Maps of a few positions, whose patches are clipped.
    {40, 2, 2, 32, 18, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {9, 4, 4, 17, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {7, 1, 1, 5, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {6, 3, 2, 8, 7, 5, 4, 1, 1, 1, 1, 2, 2, 1, 2},
    {5, 2, 3, 6, 5, 3, 3, 1, 1, 3, 3, 3, 3, 3, 3},
    // More positions than pixels.
    {40, 1, 1, 5, 6, 3, 3, 1, 1, 1, 1, 2, 2, 2, 2},
    // Few output channels on large maps: X is read where it lies.
    {2, 40, 38, 32, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 90, 80, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    // Several tiles.
    {20, 30, 28, 16, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    // A row longer than a table of positions on a GPU.
    {1, 1, 2100, 5, 3, 1, 3, 1, 1, 1, 1, 0, 0, 1, 1},
};

inline ConvGeometry GeometryOf(const Problem& p, Layout layout) {
  ConvGeometry g;
  g.layout = layout;
  g.batch = p.batch;
  g.in_rows = p.rows;
  g.in_cols = p.cols;
  g.in_depth = p.in_depth;
  g.out_depth = p.out_depth;
  g.filter_rows = p.filter_rows;
  g.filter_cols = p.filter_cols;
  g.stride_rows = p.stride_rows;
  g.stride_cols = p.stride_cols;
  g.dilation_rows = p.dilation_rows;
  g.dilation_cols = p.dilation_cols;
  g.pad_top = p.top;
  g.pad_left = p.left;
  g.out_rows =
      (p.rows + p.top + p.bottom - (p.filter_rows - 1) * p.dilation_rows - 1) /
          p.stride_rows +
      1;
  g.out_cols =
      (p.cols + p.left + p.right - (p.filter_cols - 1) * p.dilation_cols - 1) /
          p.stride_cols +
      1;
  return g;
}

inline std::string Describe(const ConvGeometry& g) {
  return std::to_string(g.batch) + "x" + std::to_string(g.in_rows) + "x" +
         std::to_string(g.in_cols) + " " + std::to_string(g.in_depth) + "->" +
         std::to_string(g.out_depth) + " " + std::to_string(g.filter_rows) +
         "x" + std::to_string(g.filter_cols) +
         (g.layout == Layout::kNHWC ? " NHWC" : " NCHW");
}

inline std::string Describe(const ConvGeometry& g, const Selection& selection,
                            size_t type_size) {
  return Describe(g) +
         (selection.method == SelectionMethod::kLargest ? " max" : " sampled") +
         " k=" + std::to_string(selection.k) + ", " +
         std::to_string(type_size) + " bytes an element";
}

template <typename T>
std::vector<T> RandomValues(int64_t count, std::mt19937* generator,
                            std::vector<double>* exact) {
  std::normal_distribution<double> normal;
  std::vector<T> values(count);
  exact->resize(count);
  for (int64_t i = 0; i < count; ++i) {
    // Ties, and values that every type holds exactly.
    const double value = std::round(normal(*generator) * 8) / 8;
    values[i] = Store<T>(static_cast<typename AccumulatorOf<T>::type>(value));
    (*exact)[i] = static_cast<double>(Load(values[i]));
  }
  return values;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_COMMON_PROBLEMS_H_
