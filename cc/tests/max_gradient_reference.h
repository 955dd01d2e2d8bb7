// The max method in double precision, written from its formulas and slow.

#ifndef TF_APPROXGRAD_CC_TESTS_MAX_GRADIENT_REFERENCE_H_
#define TF_APPROXGRAD_CC_TESTS_MAX_GRADIENT_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cc/kernels/geometry.h"

namespace tf_approxgrad {

// Index of an element of X or dY in its layout.
inline int64_t ImageIndex(Layout layout, int64_t n, int64_t row, int64_t col,
                          int64_t channel, int64_t rows, int64_t cols,
                          int64_t channels) {
  return layout == Layout::kNHWC
             ? ((n * rows + row) * cols + col) * channels + channel
             : ((n * channels + channel) * rows + row) * cols + col;
}

// dF [KH, KW, Ci, Co]; `magnitudes` gets the sum of the absolute terms of each
// element, which bounds the error of a sum in float32.
inline std::vector<double> ReferenceMaxGradient(
    const ConvGeometry& g, int64_t k, double scale,
    const std::vector<double>& x, const std::vector<double>& dy,
    std::vector<double>* magnitudes) {
  std::vector<double> gradient(g.filter_size() * g.out_depth);
  magnitudes->assign(gradient.size(), 0.0);
  std::vector<double> values(g.positions());
  std::vector<int64_t> order(g.positions());
  for (int64_t n = 0; n < g.batch; ++n) {
    for (int64_t co = 0; co < g.out_depth; ++co) {
      double rest = 0;
      for (int64_t p = 0; p < g.positions(); ++p) {
        order[p] = p;
        values[p] = dy[ImageIndex(g.layout, n, p / g.out_cols, p % g.out_cols,
                                  co, g.out_rows, g.out_cols, g.out_depth)];
        rest += values[p];
      }
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return std::abs(values[a]) > std::abs(values[b]);
      });
      for (int64_t j = 0; j < k; ++j) rest -= values[order[j]];
      for (int64_t j = 0; j < k; ++j) {
        const int64_t p = order[j];
        const double weight = scale * (values[p] + rest / k);
        for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
          const int64_t row =
              p / g.out_cols * g.stride_rows + kh * g.dilation_rows - g.pad_top;
          if (row < 0 || row >= g.in_rows) continue;
          for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
            const int64_t col = p % g.out_cols * g.stride_cols +
                                kw * g.dilation_cols - g.pad_left;
            if (col < 0 || col >= g.in_cols) continue;
            for (int64_t ci = 0; ci < g.in_depth; ++ci) {
              const double term =
                  weight * x[ImageIndex(g.layout, n, row, col, ci, g.in_rows,
                                        g.in_cols, g.in_depth)];
              const int64_t at =
                  ((kh * g.filter_cols + kw) * g.in_depth + ci) * g.out_depth +
                  co;
              gradient[at] += term;
              (*magnitudes)[at] += std::abs(term);
            }
          }
        }
      }
    }
  }
  return gradient;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_MAX_GRADIENT_REFERENCE_H_
