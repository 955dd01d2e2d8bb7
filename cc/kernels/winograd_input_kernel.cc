// The OpKernel of ApproxWinogradConv2DBackpropInput on the CPU.

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cpu/winograd/input_gradient.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/winograd_op.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

class WinogradInputOp : public ConvOp {
 public:
  using ConvOp::ConvOp;

  void Compute(tensorflow::OpKernelContext* context) override {
    Sizes input;
    ConvGeometry geometry;
    OP_REQUIRES_OK(context,
                   ReadSizes("input_sizes", context->input(0), &input));
    OP_REQUIRES_OK(context, InputBackpropGeometry(attributes(), "input_sizes",
                                                  input, context, &geometry));
    OP_REQUIRES_OK(context, CheckWinogradApplies(geometry));
    tensorflow::Tensor* output;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, tensorflow::TensorShape(input), &output));
    if (output->NumElements() == 0) return;
    const WinogradInputGradient gradient(geometry, CpuThreads(context));
    tensorflow::Tensor scratch;
    OP_REQUIRES_OK(
        context, AllocateScratch(context, gradient.scratch_bytes(), &scratch));
    gradient.Compute(context->input(1).flat<float>().data(),
                     context->input(2).flat<float>().data(),
                     scratch.flat<int8_t>().data(),
                     output->flat<float>().data(), RunOnCpu(context));
  }
};

REGISTER_KERNEL_BUILDER(Name("ApproxWinogradConv2DBackpropInput")
                            .Device(tensorflow::DEVICE_CPU)
                            .TypeConstraint<float>("T"),
                        WinogradInputOp);

}  // namespace
}  // namespace tf_approxgrad
