// The row-sampled method on a GPU, up to the product: sizes of the rows, the
// draw, and the drawn rows gathered with their patches, as RowSampler makes
// them. Their product is for the platform's own matrix multiplication. Nothing
// here waits for the device, and the result does not depend on the order in
// which blocks run.

#ifndef TF_APPROXGRAD_CC_CUDA_ROWS_SAMPLING_H_
#define TF_APPROXGRAD_CC_CUDA_ROWS_SAMPLING_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cuda/runtime/runtime_api.h"

namespace tf_approxgrad {

// Why a GPU can't take this, or an empty string: more than 2^31 blocks.
std::string CudaRowSamplingProblem(const ConvGeometry& geometry, int64_t draws);

template <typename T>
class CudaRowSampling {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  // All sizes of `geometry` must be positive, and CudaRowSamplingProblem
  // silent.
  CudaRowSampling(const ConvGeometry& geometry, const RowSampling& sampling);

  // Device memory that the calls below need, aligned to 256 bytes.
  size_t scratch_bytes() const { return LayOut(nullptr).bytes; }

  // Writes `patches` [draws, KH * KW * Ci] of X and the weighted rows `rows`
  // [draws, Co] of dY, whose product, patches transposed, is the estimate of
  // the gradient that the rows drawn by `uniform`, in [0, 1), make. Places that
  // nothing was drawn for are zero. A size that isn't finite makes `rows` NaN.
  // The tensors may have any alignment that their element type allows. As all
  // below, returns the error of a launch that failed.
  cudaError_t Compute(double uniform, const T* input, const T* out_backprop,
                      void* scratch, Accumulator* patches, Accumulator* rows,
                      cudaStream_t stream) const;

  // The two halves of Compute. Draw leaves in the scratch what Gather reads.
  cudaError_t Draw(double uniform, const T* input, const T* out_backprop,
                   void* scratch, cudaStream_t stream) const;
  cudaError_t Gather(const T* input, const T* out_backprop, void* scratch,
                     Accumulator* patches, Accumulator* rows,
                     cudaStream_t stream) const;

  // What Draw leaves: the draw, and the row of each place that it drew for.
  const RowDraw* draw(void* scratch) const { return LayOut(scratch).draw; }
  const int64_t* drawn(void* scratch) const { return LayOut(scratch).drawn; }

 private:
  // Where the parts of the scratch begin, and their bytes.
  struct Scratch {
    RowDraw* draw;
    double* size;        // [rows]
    double* part_sums;   // [parts]
    double* group_sums;  // [groups + 1]
    int64_t* drawn;      // [draws]
    double* pixel_sums;  // [N * H * W], if sizes are products
    // If the largest are kept:
    double* limits;         // [kLimitPasses]
    LimitSums* limit_sums;  // [2, groups]
    int64_t* drawable;      // [blocks]
    size_t bytes;
  };

  int64_t rows() const { return geometry_.batch * geometry_.positions(); }
  int64_t pixels() const {
    return geometry_.batch * geometry_.in_rows * geometry_.in_cols;
  }
  Scratch LayOut(void* scratch) const;

  // Lowers the largest sizes.
  cudaError_t KeepLargest(const Scratch& own, cudaStream_t stream) const;

  ConvGeometry geometry_;
  RowSampling sampling_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_ROWS_SAMPLING_H_
