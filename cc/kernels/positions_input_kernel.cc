// The OpKernel of ApproxConv2DBackpropInput and
// ApproxSampledConv2DBackpropInput on the CPU.

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cpu/positions/input_gradient.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/positions_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class PositionsInputOp : public PositionsOp {
 public:
  using PositionsOp::PositionsOp;

  void Compute(OpKernelContext* context) override {
    Sizes input;
    ConvGeometry geometry;
    Selection selection;
    OP_REQUIRES_OK(context,
                   ReadSizes("input_sizes", context->input(0), &input));
    OP_REQUIRES_OK(context, InputBackpropGeometry(attributes(), "input_sizes",
                                                  input, context, &geometry));
    OP_REQUIRES_OK(context, ReadSelection(context, geometry, &selection));
    Tensor* output;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, TensorShape(input), &output));
    if (output->NumElements() == 0) return;
    if (geometry.output_size() == 0) {
      output->flat<T>().setZero();
      return;
    }
    const PositionsInputGradient<typename KernelType<T>::type> gradient(
        geometry, selection, CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(
        context, AllocateScratch(context, gradient.scratch_bytes(), &scratch));
    gradient.Compute(scale(geometry), ElementsOf<T>(context->input(1)),
                     ElementsOf<T>(context->input(2)),
                     scratch.flat<int8_t>().data(), ElementsOf<T>(output),
                     RunOnCpu(context));
  }
};

TF_APPROXGRAD_REGISTER(
    Name("ApproxConv2DBackpropInput").Device(tensorflow::DEVICE_CPU),
    PositionsInputOp);
TF_APPROXGRAD_REGISTER(
    Name("ApproxSampledConv2DBackpropInput").Device(tensorflow::DEVICE_CPU),
    PositionsInputOp);

}  // namespace
}  // namespace tf_approxgrad
