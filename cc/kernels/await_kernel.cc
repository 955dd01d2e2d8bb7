// The OpKernel of ApproxAwaitBackprop. It copies nothing, so that one kernel
// serves all types and devices.

#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

class ApproxAwaitBackpropOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(tensorflow::OpKernelContext* context) override {
    context->set_output(0, context->input(0));
  }

  bool IsExpensive() override { return false; }
};

REGISTER_KERNEL_BUILDER(
    Name("ApproxAwaitBackprop").Device(tensorflow::DEVICE_CPU),
    ApproxAwaitBackpropOp);
REGISTER_KERNEL_BUILDER(
    Name("ApproxAwaitBackprop").Device(tensorflow::DEVICE_GPU),
    ApproxAwaitBackpropOp);

}  // namespace
}  // namespace tf_approxgrad
