// The OpKernel of ApproxRowSampledConv2DBackpropFilter on the CPU.

#include <cmath>
#include <cstdint>
#include <string>

#include "cc/kernels/backprop_filter_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/random_stream_op.h"
#include "cc/kernels/row_draw.h"
#include "cc/kernels/row_gradient.h"
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
    OP_REQUIRES_OK(context, ReadConvAttributes(context, &attributes_));
    std::string probability;
    OP_REQUIRES_OK(context, context->GetAttr("probability", &probability));
    by_product_ = probability == "product";
    OP_REQUIRES_OK(context, context->GetAttr("keep_largest", &keep_largest_));
    OP_REQUIRES_OK(context, ReadRandomStream(context, &stream_));
    OP_REQUIRES_OK(context, context->GetAttr("scale", &scale_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("mean_over_batch", &mean_over_batch_));
    OP_REQUIRES(
        context, std::isfinite(scale_),
        InvalidArgument("scale is ", scale_, ", but it must be finite"));
  }

  void Compute(OpKernelContext* context) override {
    using Stored = typename KernelType<T>::type;
    const Tensor& input = context->input(0);
    const Tensor& out_backprop = context->input(2);
    const Tensor& step = context->input(3);
    const Tensor& draws = context->input(4);
    ConvGeometry geometry;
    OP_REQUIRES_OK(context, MakeGeometry(attributes_, input, context->input(1),
                                         out_backprop, &geometry));
    OP_REQUIRES(context, step.dims() == 0 && draws.dims() == 0,
                InvalidArgument("step and draws have the shapes ",
                                step.shape().DebugString(), " and ",
                                draws.shape().DebugString(),
                                ", but they must be scalars"));
    Tensor* output;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0,
                       TensorShape({geometry.filter_rows, geometry.filter_cols,
                                    geometry.in_depth, geometry.out_depth}),
                       &output));
    if (output->NumElements() == 0) return;
    if (geometry.output_size() == 0 || geometry.input_size() == 0) {
      output->flat<T>().setZero();
      return;
    }
    RowSampling sampling;
    sampling.draws = draws.scalar<int64_t>()();
    sampling.by_product = by_product_;
    sampling.keep_largest = keep_largest_;
    const int64_t rows = geometry.batch * geometry.positions();
    OP_REQUIRES(context, sampling.draws >= 1 && sampling.draws <= rows,
                InvalidArgument("draws is ", sampling.draws,
                                ", but it must be from 1 to ", rows,
                                ", the number of rows"));
    const RowGradient<Stored> gradient(geometry, sampling, CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(
        context, context->allocate_temp(tensorflow::DT_INT8,
                                        TensorShape({gradient.scratch_bytes()}),
                                        &scratch));
    const double scale = mean_over_batch_
                             ? static_cast<double>(scale_) / geometry.batch
                             : static_cast<double>(scale_);
    const double uniform =
        UniformOf(stream_.seed, stream_.layer,
                  static_cast<uint64_t>(step.scalar<int64_t>()()));
    gradient.Compute(
        scale, uniform, reinterpret_cast<const Stored*>(input.flat<T>().data()),
        reinterpret_cast<const Stored*>(out_backprop.flat<T>().data()),
        scratch.flat<int8_t>().data(),
        reinterpret_cast<Stored*>(output->flat<T>().data()), RunOnCpu(context));
  }

 private:
  ConvAttributes attributes_;
  bool by_product_;
  bool keep_largest_;
  RandomStream stream_;
  float scale_;
  bool mean_over_batch_;
};

TF_APPROXGRAD_REGISTER(
    Name("ApproxRowSampledConv2DBackpropFilter").Device(tensorflow::DEVICE_CPU),
    ApproxRowSampledConv2DBackpropFilterOp);

}  // namespace
}  // namespace tf_approxgrad
