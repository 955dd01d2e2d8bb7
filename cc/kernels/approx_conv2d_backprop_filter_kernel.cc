// The OpKernel of ApproxConv2DBackpropFilter on the CPU: where TensorFlow's
// tensors, allocator and threads meet the kernels.

#include <cstdint>

#include "cc/kernels/backprop_filter_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/max_gradient.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class ApproxConv2DBackpropFilterOp : public BackpropFilterOp {
 public:
  using BackpropFilterOp::BackpropFilterOp;

 protected:
  void SetZero(OpKernelContext*, Tensor* output) override {
    output->flat<T>().setZero();
  }

  void Run(OpKernelContext* context, const ConvGeometry& geometry, int64_t k,
           double scale, const Tensor& input, const Tensor& out_backprop,
           Tensor* output) override {
    using Stored = typename KernelType<T>::type;
    const MaxGradient<Stored> gradient(geometry, k, CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(
        context, context->allocate_temp(tensorflow::DT_INT8,
                                        TensorShape({gradient.scratch_bytes()}),
                                        &scratch));
    gradient.Compute(
        scale, reinterpret_cast<const Stored*>(input.flat<T>().data()),
        reinterpret_cast<const Stored*>(out_backprop.flat<T>().data()),
        scratch.flat<int8_t>().data(),
        reinterpret_cast<Stored*>(output->flat<T>().data()), RunOnCpu(context));
  }
};

#define TF_APPROXGRAD_REGISTER(T)                             \
  REGISTER_KERNEL_BUILDER(Name("ApproxConv2DBackpropFilter")  \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<T>("T"),        \
                          ApproxConv2DBackpropFilterOp<T>)
TF_APPROXGRAD_REGISTER(float);
TF_APPROXGRAD_REGISTER(double);
TF_APPROXGRAD_REGISTER(Eigen::bfloat16);
TF_APPROXGRAD_REGISTER(Eigen::half);
#undef TF_APPROXGRAD_REGISTER

}  // namespace
}  // namespace tf_approxgrad
