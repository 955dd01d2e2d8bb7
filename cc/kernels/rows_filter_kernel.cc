// The OpKernel of ApproxRowSampledConv2DBackpropFilter on the CPU.

#include <cstdint>

#include "cc/kernels/cpu_workers.h"
#include "cc/common/geometry.h"
#include "cc/cpu/rows/filter_gradient.h"
#include "cc/kernels/rows_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class RowsFilterOp : public RowsOp {
 public:
  using RowsOp::RowsOp;

  void Compute(OpKernelContext* context) override {
    using Stored = typename KernelType<T>::type;
    const Tensor& input = context->input(0);
    const Tensor& out_backprop = context->input(2);
    ConvGeometry geometry;
    OP_REQUIRES_OK(context,
                   FilterBackpropGeometry(attributes(), context, &geometry));
    OP_REQUIRES_OK(context, CheckScalars(context));
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
    OP_REQUIRES_OK(context, ReadSampling(context, geometry, &sampling));
    const RowsFilterGradient<Stored> gradient(geometry, sampling, CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(
        context, context->allocate_temp(tensorflow::DT_INT8,
                                        TensorShape({gradient.scratch_bytes()}),
                                        &scratch));
    gradient.Compute(
        scale(geometry), uniform(context),
        reinterpret_cast<const Stored*>(input.flat<T>().data()),
        reinterpret_cast<const Stored*>(out_backprop.flat<T>().data()),
        scratch.flat<int8_t>().data(),
        reinterpret_cast<Stored*>(output->flat<T>().data()), RunOnCpu(context));
  }
};

TF_APPROXGRAD_REGISTER(
    Name("ApproxRowSampledConv2DBackpropFilter").Device(tensorflow::DEVICE_CPU),
    RowsFilterOp);

}  // namespace
}  // namespace tf_approxgrad
