// The methods that keep positions, max and sampled, on a GPU: selection and
// accumulation, and where the batch is split the addition of the parts. Nothing
// here waits for the device, and the result does not depend on the order in
// which blocks run.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_FILTER_GRADIENT_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_FILTER_GRADIENT_H_

#include <cstddef>
#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/positions/weighted_position.h"
#include "cc/cuda/runtime/device_limits.h"
#include "cc/cuda/runtime/runtime_api.h"

namespace tf_approxgrad {

template <typename T>
class CudaPositionsFilterGradient {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;
  using Kept = WeightedPosition<Accumulator>;

  // All sizes of `geometry` must be positive, and CudaPlanProblem silent.
  // `device` describes the one that Compute runs on.
  CudaPositionsFilterGradient(const ConvGeometry& geometry,
                              const Selection& selection,
                              const CudaDevice& device,
                              const CudaPlanOptions& options = {});

  const CudaPlan& plan() const { return plan_; }

  // Device memory that the calls below need, aligned to 256 bytes.
  size_t scratch_bytes() const;

  // Writes every element of `filter_backprop` [KH, KW, Ci, Co]. The tensors may
  // have any alignment that their element type allows. As all below, returns
  // the error of a launch that failed.
  cudaError_t Compute(double scale, const T* input, const T* out_backprop,
                      void* scratch, T* filter_backprop,
                      cudaStream_t stream) const;

  // The two halves of Compute. Select fills kept(scratch), [N, Co, k], which
  // Accumulate reads.
  cudaError_t Select(const T* out_backprop, void* scratch,
                     cudaStream_t stream) const;
  cudaError_t Accumulate(double scale, const T* input, void* scratch,
                         T* filter_backprop, cudaStream_t stream) const;

  Kept* kept(void* scratch) const { return static_cast<Kept*>(scratch); }

 private:
  size_t positions_bytes() const;

  ConvGeometry geometry_;
  Selection selection_;
  CudaPlan plan_;
  // For tensors that aren't aligned to 16 bytes.
  CudaPlan unaligned_plan_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_FILTER_GRADIENT_H_
