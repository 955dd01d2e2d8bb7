// Which rows the row-sampled method draws, from dY and X: their sizes, then the
// draw of row_draw.h, spread over the threads of a call.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_SAMPLER_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_SAMPLER_H_

#include <atomic>
#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/rows/kernels.h"

namespace tf_approxgrad {

// Scratch of a draw; `drawn` lists the rows in ascending order.
struct RowSamplerScratch {
  double* size;        // [rows]
  double* part_sums;   // [parts]
  double* group_sums;  // [groups + 1]
  double* pixel_sums;  // [N * H * W] if by_product
  int64_t* drawn;      // [draws]
};

RowSamplerScratch LayOutRowSampler(const ConvGeometry& geometry,
                                   const RowSampling& sampling,
                                   ScratchLayout* layout);

// One draw. All its arguments must outlive it.
template <typename T>
class RowSampler {
 public:
  // `input` is read if sampling.by_product alone.
  RowSampler(const ConvGeometry& geometry, const RowSampling& sampling,
             const RowsKernels<T>& kernels, const RowSamplerScratch& scratch,
             double uniform, const T* input, const T* out_backprop);

  // Called by every thread of the call; returns when all rows are drawn.
  void Run();

  // After Run. Nothing is drawn if a size isn't finite.
  bool is_finite() const { return is_finite_; }
  // With weights that make `scale` times the estimate.
  DrawnRows drawn_rows(double scale) const {
    return {scratch_.size, scratch_.drawn, draw_.drawn(),
            scale * draw_.weight()};
  }

 private:
  int64_t rows() const { return geometry_.batch * geometry_.positions(); }
  int64_t input_pixels() const {
    return geometry_.batch * geometry_.in_rows * geometry_.in_cols;
  }
  // Sizes of the rows of the blocks [begin, end), and the sums of their parts.
  void MeasureRows(int64_t begin, int64_t end) const;
  // The sum of all sizes, from that of the parts.
  double AddUp() const;
  // So that no row is drawn more than once; by all threads.
  void LowerSizes();

  const ConvGeometry& geometry_;
  const RowSampling& sampling_;
  const RowsKernels<T>& kernels_;
  const RowSamplerScratch& scratch_;
  const T* input_;
  const T* out_backprop_;
  RowDraw draw_;
  bool is_finite_ = true;
  // Of the largest rows.
  double limit_ = 0;
  std::atomic<int64_t> drawable_{0};
  UnitQueue squares_;
  UnitQueue measuring_;
  UnitQueue adding_up_;
  UnitQueue lowering_;
  UnitQueue totalling_;
  UnitQueue drawing_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_SAMPLER_H_
