// The row-sampled method from end to end: sizes of the rows, the draw, then the
// product of the drawn rows with their patches, spread over the threads that
// the caller offers.

#ifndef TF_APPROXGRAD_CC_KERNELS_ROW_GRADIENT_H_
#define TF_APPROXGRAD_CC_KERNELS_ROW_GRADIENT_H_

#include <cstdint>
#include <functional>

#include "cc/kernels/float_types.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/row_draw.h"
#include "cc/kernels/row_kernels.h"
#include "cc/kernels/row_sampler.h"
#include "cc/kernels/unit_queue.h"

namespace tf_approxgrad {

template <typename T>
class RowGradient {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  // All sizes of `geometry` must be positive. `threads` is how many there are,
  // at least 1; a small gradient takes fewer.
  RowGradient(const ConvGeometry& geometry, const RowSampling& sampling,
              int64_t threads,
              InstructionSet instruction_set = ChosenInstructionSet());

  // Bytes of scratch for Compute, which must be aligned to 64.
  int64_t scratch_bytes() const { return LayOut(nullptr).end; }

  // Writes every element of `filter_backprop` [KH, KW, Ci, Co]: `scale` times
  // the estimate of the gradient that the rows drawn by `uniform`, in [0, 1),
  // make. A row whose size isn't finite makes all elements NaN.
  void Compute(double scale, double uniform, const T* input,
               const T* out_backprop, void* scratch, T* filter_backprop,
               const RunWorkers& run_workers) const;

 private:
  // Where the parts of the scratch begin.
  struct Scratch {
    char* sampler;
    Accumulator* pixels;  // [N * H * W, Ci] if X is rearranged
    Accumulator* zeros;   // [Ci]
    Accumulator* piece_sums;
    char* workers;
    int64_t end;
  };

  int64_t input_pixels() const {
    return geometry_.batch * geometry_.in_rows * geometry_.in_cols;
  }
  bool is_rearranged() const;
  Scratch LayOut(char* begin) const;

  ConvGeometry geometry_;
  RowKernels<T> kernels_;
  RowSampler<T> sampler_;
  int64_t workers_;
  ProductPlan plan_;
  int64_t worker_bytes_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_ROW_GRADIENT_H_
