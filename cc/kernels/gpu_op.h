// What the OpKernels on a GPU include, and in which order. For the
// *_gpu_kernel.cc files.

#ifndef TF_APPROXGRAD_CC_KERNELS_GPU_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_GPU_OP_H_

// Before all of TensorFlow and Eigen.
#define EIGEN_USE_GPU

#include <cuda_runtime_api.h>

#include "cc/kernels/cuda_status.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "unsupported/Eigen/CXX11/Tensor"

namespace tf_approxgrad {

inline cudaStream_t StreamOf(tensorflow::OpKernelContext* context) {
  return context->eigen_gpu_device().stream();
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_GPU_OP_H_
