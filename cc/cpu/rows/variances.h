// The variance that the row-sampled method adds to a filter gradient, for many
// ways to draw in one reading of dY and X.
//
// Rows count as drawn independently: one with the expected number of draws
// e = draws * size / sum of the sizes is drawn floor(e) times or once more,
// with variance f * (1 - f), f the fraction of e. So the variance of the
// gradient is the sum over rows of f * (1 - f) / e^2 * |dY|^2 * |patch|^2.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_VARIANCES_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_VARIANCES_H_

#include <cstdint>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/rows/kernels.h"

namespace tf_approxgrad {

template <typename T>
class RowVariances {
 public:
  // All sizes of `geometry` must be positive. `threads` is how many there are,
  // at least 1; a small gradient takes fewer.
  RowVariances(const ConvGeometry& geometry,
               const std::vector<RowSampling>& samplings, int64_t threads,
               InstructionSet instruction_set = ChosenInstructionSet());

  // Bytes of scratch for Compute, which must be aligned to 64.
  int64_t scratch_bytes() const;

  // Writes the variance of each sampling, the same on any number of threads.
  // All are NaN if a row's norm isn't finite, of dY or with its patch.
  void Compute(const T* input, const T* out_backprop, void* scratch,
               double* variances, const RunWorkers& run_workers) const;

 private:
  struct Scratch {
    double* pixel_sums;  // [N * H * W]
    double* norms;       // [rows], of dY
    double* products;    // [rows], with those of the patches
    double* sums;        // [samplings, blocks of rows]
  };
  // What a sampling's expected draws follow from.
  struct Rate {
    double limit;
    double rate;
  };

  int64_t rows() const { return geometry_.batch * geometry_.positions(); }
  int64_t blocks() const;
  Scratch LayOut(ScratchLayout* layout) const;
  const double* SizesOf(const RowSampling& sampling, const Scratch& own) const {
    return sampling.by_product ? own.products : own.norms;
  }
  Rate RateOf(const RowSampling& sampling, const double* size) const;

  ConvGeometry geometry_;
  std::vector<RowSampling> samplings_;
  RowsKernels<T> kernels_;
  int64_t workers_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_VARIANCES_H_
