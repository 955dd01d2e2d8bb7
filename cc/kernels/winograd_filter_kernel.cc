// The OpKernel of ApproxWinogradConv2DBackpropFilter on the CPU.

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cpu/winograd/filter_gradient.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/winograd_op.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

class WinogradFilterOp : public ConvOp {
 public:
  using ConvOp::ConvOp;

  void Compute(tensorflow::OpKernelContext* context) override {
    ConvGeometry geometry;
    OP_REQUIRES_OK(context,
                   FilterBackpropGeometry(attributes(), context, &geometry));
    OP_REQUIRES_OK(context, CheckWinogradApplies(geometry));
    tensorflow::Tensor* output;
    OP_REQUIRES_OK(context, AllocateFilter(context, geometry, &output));
    if (output->NumElements() == 0) return;
    const WinogradFilterGradient gradient(geometry, CpuThreads(context));
    tensorflow::Tensor scratch;
    OP_REQUIRES_OK(
        context, AllocateScratch(context, gradient.scratch_bytes(), &scratch));
    gradient.Compute(context->input(0).flat<float>().data(),
                     context->input(2).flat<float>().data(),
                     scratch.flat<int8_t>().data(),
                     output->flat<float>().data(), RunOnCpu(context));
  }
};

REGISTER_KERNEL_BUILDER(Name("ApproxWinogradConv2DBackpropFilter")
                            .Device(tensorflow::DEVICE_CPU)
                            .TypeConstraint<float>("T"),
                        WinogradFilterOp);

}  // namespace
}  // namespace tf_approxgrad
