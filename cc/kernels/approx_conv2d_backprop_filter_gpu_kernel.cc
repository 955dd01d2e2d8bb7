// The OpKernel of ApproxConv2DBackpropFilter on the GPU: where TensorFlow's
// stream and allocator meet the CUDA kernels. Nothing where the build has no
// CUDA.

#ifdef TF_APPROXGRAD_CUDA
#define EIGEN_USE_GPU

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "cc/kernels/backprop_filter_op.h"
#include "cc/kernels/cuda_device.h"
#include "cc/kernels/cuda_max_gradient.h"
#include "cc/kernels/cuda_status.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "unsupported/Eigen/CXX11/Tensor"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class ApproxConv2DBackpropFilterGpuOp : public BackpropFilterOp {
 public:
  using BackpropFilterOp::BackpropFilterOp;

 protected:
  void SetZero(OpKernelContext* context, Tensor* output) override {
    // All bits zero are 0 in every type.
    OP_REQUIRES_OK(
        context,
        CudaStatus("clearing the filter gradient",
                   cudaMemsetAsync(output->data(), 0, output->TotalBytes(),
                                   context->eigen_gpu_device().stream())));
  }

  void Run(OpKernelContext* context, const ConvGeometry& geometry, int64_t k,
           double scale, const Tensor& input, const Tensor& out_backprop,
           Tensor* output) override {
    using Stored = typename KernelType<T>::type;
    const std::string problem = CudaPlanProblem(geometry, k, {});
    OP_REQUIRES(context, problem.empty(), InvalidArgument(problem));
    CudaDevice device;
    OP_REQUIRES_OK(context,
                   CudaStatus("asking for the GPU", ReadCudaDevice(&device)));
    const CudaMaxGradient<Stored> gradient(geometry, k, device);
    Tensor scratch;
    OP_REQUIRES_OK(
        context,
        context->allocate_temp(
            tensorflow::DT_UINT8,
            TensorShape({static_cast<int64_t>(gradient.scratch_bytes())}),
            &scratch));
    OP_REQUIRES_OK(
        context,
        CudaStatus("the approximate filter gradient",
                   gradient.Compute(
                       scale, static_cast<const Stored*>(input.data()),
                       static_cast<const Stored*>(out_backprop.data()),
                       scratch.data(), static_cast<Stored*>(output->data()),
                       context->eigen_gpu_device().stream())));
  }
};

#define TF_APPROXGRAD_REGISTER(T)                             \
  REGISTER_KERNEL_BUILDER(Name("ApproxConv2DBackpropFilter")  \
                              .Device(tensorflow::DEVICE_GPU) \
                              .HostMemory("filter_sizes")     \
                              .TypeConstraint<T>("T"),        \
                          ApproxConv2DBackpropFilterGpuOp<T>)
TF_APPROXGRAD_REGISTER(float);
TF_APPROXGRAD_REGISTER(double);
TF_APPROXGRAD_REGISTER(Eigen::bfloat16);
TF_APPROXGRAD_REGISTER(Eigen::half);
#undef TF_APPROXGRAD_REGISTER

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CUDA
