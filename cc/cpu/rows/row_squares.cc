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
  kernels_.multiply_by_patch_squares(geometry_, pixel_sums_, begin, end,
                                     squares);
}

template class RowSquares<float>;
template class RowSquares<double>;
template class RowSquares<Bfloat16>;
template class RowSquares<Half>;

}  // namespace tf_approxgrad
