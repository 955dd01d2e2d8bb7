// The OpKernel of ApproxRowSampledConv2DBackpropInput on the CPU.

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/rows/input_gradient.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/rows_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class RowsInputOp : public RowsOp {
 public:
  using RowsOp::RowsOp;

  void Compute(OpKernelContext* context) override {
    Sizes input;
    ConvGeometry geometry;
    OP_REQUIRES_OK(context, ReadSizesOf("input", context->input(0), &input));
    OP_REQUIRES_OK(context, InputBackpropGeometry(attributes(), "input", input,
                                                  context, &geometry));
    OP_REQUIRES_OK(context, CheckStepAndDraws(context));
    Tensor* output;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, TensorShape(input), &output));
    if (output->NumElements() == 0) return;
    if (geometry.output_size() == 0) {
      output->flat<T>().setZero();
      return;
    }
    RowSampling sampling;
    OP_REQUIRES_OK(context, ReadSampling(context, geometry, &sampling));
    const RowsInputGradient<typename KernelType<T>::type> gradient(
        geometry, sampling, CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(
        context, AllocateScratch(context, gradient.scratch_bytes(), &scratch));
    gradient.Compute(
        scale(geometry), uniform(context), ElementsOf<T>(context->input(0)),
        ElementsOf<T>(context->input(1)), ElementsOf<T>(context->input(2)),
        scratch.flat<int8_t>().data(), ElementsOf<T>(output),
        RunOnCpu(context));
  }
};

TF_APPROXGRAD_REGISTER(
    Name("ApproxRowSampledConv2DBackpropInput").Device(tensorflow::DEVICE_CPU),
    RowsInputOp);

}  // namespace
}  // namespace tf_approxgrad
