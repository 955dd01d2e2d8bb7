// The OpKernels of ApproxConv2DBackpropInput, ApproxSampledConv2DBackpropInput
// and ApproxRowSampledConv2DBackpropInput on the CPU.

#include <cstdint>

#include "cc/kernels/cpu_workers.h"
#include "cc/common/geometry.h"
#include "cc/cpu/positions/input_gradient.h"
#include "cc/kernels/positions_op.h"
#include "cc/cpu/rows/input_gradient.h"
#include "cc/kernels/rows_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Of the sizes of the input, and the inputs filter and out_backprop.
absl::Status InputBackpropGeometry(ConvAttributes attributes,
                                   const char* input_name, const Sizes& input,
                                   OpKernelContext* context, ConvGeometry* g) {
  attributes.input_name = input_name;
  attributes.filter_name = "filter";
  Sizes filter;
  TF_RETURN_IF_ERROR(ReadSizesOf("filter", context->input(1), &filter));
  return MakeGeometry(attributes, input, filter, context->input(2), g);
}

absl::Status AllocateScratch(OpKernelContext* context, int64_t bytes,
                             Tensor* scratch) {
  return context->allocate_temp(tensorflow::DT_INT8, TensorShape({bytes}),
                                scratch);
}

// The elements of a tensor under the kernels' name of their type.
template <typename T>
const typename KernelType<T>::type* ElementsOf(const Tensor& tensor) {
  return reinterpret_cast<const typename KernelType<T>::type*>(
      tensor.flat<T>().data());
}

template <typename T>
typename KernelType<T>::type* ElementsOf(Tensor* tensor) {
  return reinterpret_cast<typename KernelType<T>::type*>(
      tensor->flat<T>().data());
}

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
    OP_REQUIRES_OK(context, CheckScalars(context));
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
    Name("ApproxConv2DBackpropInput").Device(tensorflow::DEVICE_CPU),
    PositionsInputOp);
TF_APPROXGRAD_REGISTER(
    Name("ApproxSampledConv2DBackpropInput").Device(tensorflow::DEVICE_CPU),
    PositionsInputOp);
TF_APPROXGRAD_REGISTER(
    Name("ApproxRowSampledConv2DBackpropInput").Device(tensorflow::DEVICE_CPU),
    RowsInputOp);

}  // namespace
}  // namespace tf_approxgrad
