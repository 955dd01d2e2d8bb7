// The OpKernel of ApproxRowSampledConv2DBackpropFilter on the CPU.

#include <cmath>
#include <cstdint>

#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/row_gradient.h"
#include "cc/kernels/row_sampling_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class ApproxRowSampledConv2DBackpropFilterOp : public tensorflow::OpKernel {
 public:
  explicit ApproxRowSampledConv2DBackpropFilterOp(OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context));
    OP_REQUIRES_OK(context, context->GetAttr("scale", &scale_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("mean_over_batch", &mean_over_batch_));
    OP_REQUIRES(
        context, std::isfinite(scale_),
        InvalidArgument("scale is ", scale_, ", but it must be finite"));
  }

  void Compute(OpKernelContext* context) override {
    using Stored = typename KernelType<T>::type;
    RowSamplingCall call;
    OP_REQUIRES_OK(context, attributes_.ReadCall(context, &call));
    const ConvGeometry& geometry = call.geometry;
    Tensor* output;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0,
                       TensorShape({geometry.filter_rows, geometry.filter_cols,
                                    geometry.in_depth, geometry.out_depth}),
                       &output));
    if (output->NumElements() == 0) return;
    if (call.is_empty()) {
      output->flat<T>().setZero();
      return;
    }
    const RowGradient<Stored> gradient(geometry, call.sampling,
                                       CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(
        context, context->allocate_temp(tensorflow::DT_INT8,
                                        TensorShape({gradient.scratch_bytes()}),
                                        &scratch));
    const double scale = mean_over_batch_
                             ? static_cast<double>(scale_) / geometry.batch
                             : static_cast<double>(scale_);
    gradient.Compute(
        scale, call.uniform,
        reinterpret_cast<const Stored*>(context->input(0).flat<T>().data()),
        reinterpret_cast<const Stored*>(context->input(2).flat<T>().data()),
        scratch.flat<int8_t>().data(),
        reinterpret_cast<Stored*>(output->flat<T>().data()), RunOnCpu(context));
  }

 private:
  RowSamplingAttributes attributes_;
  float scale_;
  bool mean_over_batch_;
};

TF_APPROXGRAD_REGISTER(
    Name("ApproxRowSampledConv2DBackpropFilter").Device(tensorflow::DEVICE_CPU),
    ApproxRowSampledConv2DBackpropFilterOp);

}  // namespace
}  // namespace tf_approxgrad
