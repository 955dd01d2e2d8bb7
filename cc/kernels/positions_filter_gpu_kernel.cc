// The OpKernel of ApproxConv2DBackpropFilter and
// ApproxSampledConv2DBackpropFilter on the GPU: where TensorFlow's
// stream and allocator meet the CUDA kernels.

// First, for it chooses what TensorFlow's headers define.
// clang-format off
#include "cc/kernels/gpu_op.h"
// clang-format on

#include <cstdint>
#include <string>

#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cuda/positions/filter_gradient.h"
#include "cc/cuda/runtime/device.h"
#include "cc/cuda/runtime/device_limits.h"
#include "cc/kernels/positions_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "cc/ops/conv_attributes.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class GpuPositionsFilterOp : public PositionsFilterOp {
 public:
  using PositionsFilterOp::PositionsFilterOp;

 protected:
  void SetZero(OpKernelContext* context, Tensor* output) override {
    // All bits zero are 0 in every type.
    OP_REQUIRES_OK(context, CudaStatus("clearing the filter gradient",
                                       cudaMemsetAsync(output->data(), 0,
                                                       output->TotalBytes(),
                                                       StreamOf(context))));
  }

  void Run(OpKernelContext* context, const ConvGeometry& geometry,
           const Selection& selection, double scale, const Tensor& input,
           const Tensor& out_backprop, Tensor* output) override {
    using Stored = typename KernelType<T>::type;
    const std::string problem = CudaPlanProblem(geometry, selection.k, {});
    OP_REQUIRES(context, problem.empty(), InvalidArgument(problem));
    CudaDevice device;
    OP_REQUIRES_OK(context,
                   CudaStatus("asking for the GPU", ReadCudaDevice(&device)));
    const CudaPositionsFilterGradient<Stored> gradient(geometry, selection,
                                                       device);
    Tensor scratch;
    OP_REQUIRES_OK(
        context,
        context->allocate_temp(
            tensorflow::DT_UINT8,
            TensorShape({static_cast<int64_t>(gradient.scratch_bytes())}),
            &scratch));
    OP_REQUIRES_OK(
        context,
        CudaStatus(
            "the approximate filter gradient",
            gradient.Compute(
                scale, static_cast<const Stored*>(input.data()),
                static_cast<const Stored*>(out_backprop.data()), scratch.data(),
                static_cast<Stored*>(output->data()), StreamOf(context))));
  }
};

TF_APPROXGRAD_REGISTER(Name("ApproxConv2DBackpropFilter")
                           .Device(tensorflow::DEVICE_GPU)
                           .HostMemory("filter_sizes"),
                       GpuPositionsFilterOp);
TF_APPROXGRAD_REGISTER(Name("ApproxSampledConv2DBackpropFilter")
                           .Device(tensorflow::DEVICE_GPU)
                           .HostMemory("filter_sizes")
                           .HostMemory("step"),
                       GpuPositionsFilterOp);

}  // namespace
}  // namespace tf_approxgrad
