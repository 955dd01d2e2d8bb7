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

// Those of an op that draws, the inputs 3 and 4.
inline absl::Status CheckStepAndDraws(tensorflow::OpKernelContext* context) {
  const tensorflow::Tensor& step = context->input(3);
  const tensorflow::Tensor& draws = context->input(4);
  if (step.dims() == 0 && draws.dims() == 0) return absl::OkStatus();
  return InvalidArgument(
      "step and draws have the shapes ", step.shape().DebugString(), " and ",
      draws.shape().DebugString(), ", but they must be scalars");
}

// `most` is the number of what is drawn from, as `name` says.
inline absl::Status CheckDraws(int64_t draws, int64_t most, const char* name) {
  if (draws >= 1 && draws <= most) return absl::OkStatus();
  return InvalidArgument("draws is ", draws, ", but it must be from 1 to ",
                         most, ", the number of ", name);
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_RANDOM_STREAM_OP_H_
