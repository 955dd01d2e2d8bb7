// Whether the max method is worth it on a GPU, by arithmetic alone: what each
// kernel must move and multiply, over what the device can.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_MAX_GRADIENT_PAYS_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_MAX_GRADIENT_PAYS_H_

#include <cstdint>

#include "cc/cuda/positions/plan.h"
#include "cc/common/geometry.h"

namespace tf_approxgrad {

// The arithmetic of the dense gradient that the method competes with.
enum class CudaArithmetic {
  // Without tensor cores: TensorFlow with
  // tf.config.experimental.enable_tensor_float_32_execution(False).
  kFloat32,
  // float32 tensors as TensorFlow multiplies them by default.
  kTensorFloat32,
  kFloat64,
  kBfloat16,
  kHalf,
};

// Seconds that the method, and the dense gradient, should take: the larger of
// the bytes over their bandwidth and the operations over their rate, in each
// kernel, and its launch. A model, not a measurement.
double PredictedMaxSeconds(const ConvGeometry& geometry, int64_t k,
                           CudaArithmetic arithmetic, const CudaDevice& device);
double PredictedDenseSeconds(const ConvGeometry& geometry,
                             CudaArithmetic arithmetic,
                             const CudaDevice& device);

// Whether max with k positions should beat the dense gradient on this device.
// It reads a patch for every kept position, each value once, while a tensor
// core reads each value for many output channels: where a map has few
// positions, as with 2x2 and 4x4, that is too much for what the method leaves
// out.
bool MaxGradientPays(const ConvGeometry& geometry, int64_t k,
                     CudaArithmetic arithmetic, const CudaDevice& device);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_MAX_GRADIENT_PAYS_H_
