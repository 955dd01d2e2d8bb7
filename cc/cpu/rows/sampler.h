// Which rows the row-sampled method draws, from dY and X.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_SAMPLER_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_SAMPLER_H_

#include <cmath>
#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/systematic_draw.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/rows/row_squares.h"

namespace tf_approxgrad {

struct RowSamplerScratch {
  DrawScratch draw;
  double* pixel_sums;  // [N * H * W] if by_product
};

inline RowSamplerScratch LayOutRowSampler(const ConvGeometry& g,
                                          const RowSampling& sampling,
                                          ScratchLayout* layout) {
  RowSamplerScratch own;
  own.draw = LayOutDraw(g.batch * g.positions(), sampling.draws, layout);
  layout->Place(&own.pixel_sums,
                sampling.by_product ? g.batch * g.in_rows * g.in_cols : 0);
  return own;
}

// One draw. All its arguments must outlive it.
template <typename T>
class RowSampler {
 public:
  // `input` is read if sampling.by_product alone.
  RowSampler(const ConvGeometry& geometry, const RowSampling& sampling,
             const RowsKernels<T>& kernels, const RowSamplerScratch& scratch,
             double uniform, const T* input, const T* out_backprop)
      : by_product_(sampling.by_product),
        squares_(geometry, kernels, input, out_backprop,
                 by_product_ ? scratch.pixel_sums : nullptr),
        draw_(geometry.batch * geometry.positions(), sampling.draws,
              sampling.keep_largest, uniform, kernels, scratch.draw) {}

  // Called by every thread of the call; returns when all rows are drawn.
  void Run() {
    squares_.MeasurePixels();
    draw_.Run([&](int64_t begin, int64_t end, double* size) {
      squares_.MeasureRows(begin, end, size);
      if (by_product_) squares_.MultiplyByPatches(begin, end, size);
      for (int64_t row = begin; row < end; ++row) {
        size[row] = std::sqrt(size[row]);
      }
    });
  }

  // After Run.
  bool is_finite() const { return draw_.is_finite(); }
  DrawnRows drawn_rows(double scale) const { return draw_.drawn_rows(scale); }

 private:
  bool by_product_;
  RowSquares<T> squares_;
  SystematicDraw draw_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_SAMPLER_H_
