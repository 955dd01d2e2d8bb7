// How an OpKernel reads its random stream.

#ifndef TF_APPROXGRAD_CC_KERNELS_RANDOM_STREAM_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_RANDOM_STREAM_OP_H_

#include <cstdint>

#include "cc/common/random_stream.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

// The attributes seed and layer.
inline absl::Status ReadRandomStream(tensorflow::OpKernelConstruction* context,
                                     RandomStream* stream) {
  int64_t seed, layer;
  TF_RETURN_IF_ERROR(context->GetAttr("seed", &seed));
  TF_RETURN_IF_ERROR(context->GetAttr("layer", &layer));
  if (layer < 0 || layer > UINT32_MAX) {
    return InvalidArgument("layer is ", layer, ", but it must be from 0 to ",
                           UINT32_MAX);
  }
  stream->seed = static_cast<uint64_t>(seed);
  stream->layer = static_cast<uint32_t>(layer);
  return absl::OkStatus();
}

// The input step.
inline absl::Status ReadStep(const tensorflow::Tensor& step,
                             RandomStream* stream) {
  if (step.dims() != 0) {
    return InvalidArgument("step has the shape ", step.shape().DebugString(),
                           ", but it must be a scalar");
  }
  stream->step = static_cast<uint64_t>(step.scalar<int64_t>()());
  return absl::OkStatus();
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_RANDOM_STREAM_OP_H_
