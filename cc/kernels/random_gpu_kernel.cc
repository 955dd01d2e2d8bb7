// The OpKernel of ApproxRandomFilterGradient on the GPU.

// First, for it chooses what TensorFlow's headers define.
// clang-format off
#include "cc/kernels/gpu_op.h"
// clang-format on

#include "cc/common/random_stream.h"
#include "cc/cuda/random/fill_normal.h"
#include "cc/kernels/random_op.h"
#include "cc/kernels/tensorflow_types.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T>
class ApproxRandomFilterGradientGpuOp : public RandomFilterGradientOp {
 public:
  using RandomFilterGradientOp::RandomFilterGradientOp;

 protected:
  void Fill(OpKernelContext* context, const RandomStream& numbers,
            double stddev, Tensor* output) override {
    using Stored = typename KernelType<T>::type;
    OP_REQUIRES_OK(
        context,
        CudaStatus("the random filter gradient",
                   CudaFillNormal(numbers, stddev, output->NumElements(),
                                  static_cast<Stored*>(output->data()),
                                  StreamOf(context))));
  }
};

TF_APPROXGRAD_REGISTER(Name("ApproxRandomFilterGradient")
                           .Device(tensorflow::DEVICE_GPU)
                           .HostMemory("filter_sizes")
                           .HostMemory("step"),
                       ApproxRandomFilterGradientGpuOp);

}  // namespace
}  // namespace tf_approxgrad
