#include "cc/cpu/rows/row_squares.h"

#include <algorithm>

#include "cc/common/float_types.h"
#include "cc/common/integer_math.h"

namespace tf_approxgrad {
namespace {

// Pixels of X that are squared at a time.
constexpr int64_t kPixels = 256;

}  // namespace

template <typename T>
RowSquares<T>::RowSquares(const ConvGeometry& geometry,
                          const RowsKernels<T>& kernels, const T* input,
                          const T* out_backprop, double* pixel_sums)
    : geometry_(geometry),
      kernels_(kernels),
      input_(input),
      out_backprop_(out_backprop),
      pixel_sums_(pixel_sums),
      queue_(pixel_sums == nullptr ? 0 : DivideUp(pixels(), kPixels), 4) {}

template <typename T>
void RowSquares<T>::MeasurePixels() {
  const ConvGeometry& g = geometry_;
  queue_.Run([&](int64_t begin, int64_t end) {
    kernels_.square_sums(g.layout, input_, g.in_rows * g.in_cols, g.in_depth,
                         begin * kPixels, std::min(end * kPixels, pixels()),
                         pixel_sums_);
  });
}

template <typename T>
void RowSquares<T>::MeasureRows(int64_t begin, int64_t end,
                                double* squares) const {
  kernels_.square_sums(geometry_.layout, out_backprop_, geometry_.positions(),
                       geometry_.out_depth, begin, end, squares);
}

template <typename T>
void RowSquares<T>::MultiplyByPatches(int64_t begin, int64_t end,
                                      double* squares) const {
  const ConvGeometry& g = geometry_;
  const int64_t reach_rows = (g.filter_rows - 1) * g.dilation_rows;
  const int64_t reach_cols = (g.filter_cols - 1) * g.dilation_cols;
  int64_t image = begin / g.positions();
  int64_t out_row = begin % g.positions() / g.out_cols;
  int64_t out_col = begin % g.out_cols;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t top = out_row * g.stride_rows - g.pad_top;
    const int64_t left = out_col * g.stride_cols - g.pad_left;
    const bool is_inside = top >= 0 && top + reach_rows < g.in_rows &&
                           left >= 0 && left + reach_cols < g.in_cols;
    double sum = 0;
    for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
      const int64_t in_row = top + kh * g.dilation_rows;
      if (in_row < 0 || in_row >= g.in_rows) continue;
      const double* line =
          pixel_sums_ + (image * g.in_rows + in_row) * g.in_cols;
      for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
        const int64_t in_col = left + kw * g.dilation_cols;
        if (is_inside || (in_col >= 0 && in_col < g.in_cols)) {
          sum += line[in_col];
        }
      }
    }
    squares[row] *= sum;
    if (++out_col < g.out_cols) continue;
    out_col = 0;
    if (++out_row < g.out_rows) continue;
    out_row = 0;
    ++image;
  }
}

template class RowSquares<float>;
template class RowSquares<double>;
template class RowSquares<Bfloat16>;
template class RowSquares<Half>;

}  // namespace tf_approxgrad
