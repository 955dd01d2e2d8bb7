// Sizes of the rows and the draw on the CPU, a step after the other: their
// parts can be spread over threads.

#ifndef TF_APPROXGRAD_CC_KERNELS_ROW_SAMPLER_H_
#define TF_APPROXGRAD_CC_KERNELS_ROW_SAMPLER_H_

#include <cstdint>

#include "cc/kernels/float_types.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/row_draw.h"
#include "cc/kernels/row_kernels.h"

namespace tf_approxgrad {

struct RowsScratch {
  double* size;        // [rows]
  double* part_sums;   // [parts]
  double* group_sums;  // [groups + 1]
  double* pixel_sums;  // [N * H * W] if they are needed
  int64_t* drawn;      // [draws]
};

template <typename T>
class RowSampler {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  // All sizes of `geometry` must be positive.
  RowSampler(const ConvGeometry& geometry, const RowSampling& sampling,
             const RowKernels<T>& kernels);

  int64_t rows() const { return geometry_.batch * geometry_.positions(); }
  int64_t blocks() const { return RowBlocks(rows()); }
  bool needs_pixel_sums() const { return sampling_.by_product; }

  // Bytes of scratch, and where its parts are; `scratch` is aligned to 8.
  int64_t scratch_bytes() const;
  RowsScratch LayOut(void* scratch) const;

  // The squared norms of the pixels [begin, end) of X, if they are needed.
  void SquarePixels(const RowsScratch& own, const T* input, int64_t begin,
                    int64_t end) const;
  // Then sizes of the rows of the blocks [begin, end), and the sums of their
  // parts.
  void MeasureRows(const RowsScratch& own, const T* out_backprop, int64_t begin,
                   int64_t end) const;
  // Then all that must be known before the rows are drawn. Lowers sizes if the
  // largest are to be kept.
  RowDraw PrepareDraw(const RowsScratch& own, double uniform) const;
  // Then the places of the rows of the blocks [begin, end), if the draw is
  // finite.
  void Draw(const RowsScratch& own, const RowDraw& draw, int64_t begin,
            int64_t end) const;

  // All of that by itself, and the drawn rows gathered: `patches`, of X,
  // [draws, KH * KW * Ci], and `weighted`, of dY, [draws, Co]. Places that
  // nothing was drawn for are zero. A size that isn't finite makes `weighted`
  // NaN.
  RowDraw Sample(double uniform, const T* input, const T* out_backprop,
                 void* scratch, Accumulator* patches,
                 Accumulator* weighted) const;

 private:
  int64_t pixel_sums() const;

  ConvGeometry geometry_;
  RowSampling sampling_;
  RowKernels<T> kernels_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_ROW_SAMPLER_H_
