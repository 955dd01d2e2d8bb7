// The OpKernel of ApproxRandomFilterGradient on the GPU. Nothing where the
// build has no CUDA.

#ifdef TF_APPROXGRAD_CUDA
#define EIGEN_USE_GPU

#include <cuda_runtime_api.h>

#include "cc/kernels/cuda_random_normal.h"
#include "cc/kernels/cuda_status.h"
#include "cc/kernels/random_filter_gradient_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "unsupported/Eigen/CXX11/Tensor"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T>
class ApproxRandomFilterGradientGpuOp : public RandomFilterGradientOp {
 public:
  using RandomFilterGradientOp::RandomFilterGradientOp;

 protected:
  void Fill(OpKernelContext* context, const NormalStream& numbers,
            double stddev, Tensor* output) override {
    using Stored = typename KernelType<T>::type;
    OP_REQUIRES_OK(
        context,
        CudaStatus("the random filter gradient",
                   CudaFillNormal(numbers, stddev, output->NumElements(),
                                  static_cast<Stored*>(output->data()),
                                  context->eigen_gpu_device().stream())));
  }
};

#define TF_APPROXGRAD_REGISTER(T)                             \
  REGISTER_KERNEL_BUILDER(Name("ApproxRandomFilterGradient")  \
                              .Device(tensorflow::DEVICE_GPU) \
                              .HostMemory("filter_sizes")     \
                              .HostMemory("step")             \
                              .TypeConstraint<T>("T"),        \
                          ApproxRandomFilterGradientGpuOp<T>)
TF_APPROXGRAD_REGISTER(float);
TF_APPROXGRAD_REGISTER(double);
TF_APPROXGRAD_REGISTER(Eigen::bfloat16);
TF_APPROXGRAD_REGISTER(Eigen::half);
#undef TF_APPROXGRAD_REGISTER

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CUDA
