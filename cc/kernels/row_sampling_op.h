// What the OpKernels that draw rows have in common on every device: attributes,
// the check of all sizes, and of ApproxSampleRows the outputs. For the
// *_kernel.cc files, which include TensorFlow; the kernels don't.

#ifndef TF_APPROXGRAD_CC_KERNELS_ROW_SAMPLING_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_ROW_SAMPLING_OP_H_

#include <cstdint>
#include <string>

#include "cc/kernels/backprop_filter_op.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/random_stream_op.h"
#include "cc/kernels/row_draw.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

// One call of an op that draws rows.
struct RowSamplingCall {
  ConvGeometry geometry;
  RowSampling sampling;
  double uniform = 0;

  // Without a row to draw, or a pixel of X.
  bool is_empty() const {
    return geometry.output_size() == 0 || geometry.input_size() == 0;
  }
};

// The attributes of such an op.
class RowSamplingAttributes {
 public:
  absl::Status Read(tensorflow::OpKernelConstruction* context) {
    TF_RETURN_IF_ERROR(ReadConvAttributes(context, &conv_));
    std::string probability;
    TF_RETURN_IF_ERROR(context->GetAttr("probability", &probability));
    sampling_.by_product = probability == "product";
    TF_RETURN_IF_ERROR(
        context->GetAttr("keep_largest", &sampling_.keep_largest));
    return ReadRandomStream(context, &stream_);
  }

  // With the inputs input, filter_sizes, out_backprop, step and draws.
  absl::Status ReadCall(tensorflow::OpKernelContext* context,
                        RowSamplingCall* call) const {
    TF_RETURN_IF_ERROR(MakeGeometry(conv_, context->input(0), context->input(1),
                                    context->input(2), &call->geometry));
    const tensorflow::Tensor& step = context->input(3);
    const tensorflow::Tensor& draws = context->input(4);
    if (step.dims() != 0 || draws.dims() != 0) {
      return InvalidArgument(
          "step and draws have the shapes ", step.shape().DebugString(),
          " and ", draws.shape().DebugString(), ", but they must be scalars");
    }
    call->sampling = sampling_;
    call->sampling.draws = draws.scalar<int64_t>()();
    const int64_t rows = call->geometry.batch * call->geometry.positions();
    if (call->sampling.draws < 1 ||
        (call->sampling.draws > rows && !call->is_empty())) {
      return InvalidArgument("draws is ", call->sampling.draws,
                             ", but it must be from 1 to ", rows,
                             ", the number of rows");
    }
    call->uniform = UniformOf(stream_.seed, stream_.layer,
                              static_cast<uint64_t>(step.scalar<int64_t>()()));
    return absl::OkStatus();
  }

 private:
  ConvAttributes conv_;
  // Without the draws and the step.
  RowSampling sampling_;
  RandomStream stream_;
};

class SampleRowsOp : public tensorflow::OpKernel {
 public:
  explicit SampleRowsOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context));
    OP_REQUIRES_OK(context, CheckAccumulator(context->input_type(0),
                                             context->output_type(0)));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    RowSamplingCall call;
    OP_REQUIRES_OK(context, attributes_.ReadCall(context, &call));
    const ConvGeometry& g = call.geometry;
    OP_REQUIRES(
        context, g.filter_size() <= INT32_MAX,
        InvalidArgument("filter_sizes is ", g.filter_rows, ", ", g.filter_cols,
                        ", ", g.in_depth, ", ", g.out_depth,
                        ", but the product of the first three must be "
                        "less than 2^31"));
    const int64_t widths[] = {g.filter_size(), g.out_depth};
    tensorflow::Tensor* outputs[2];
    for (int i = 0; i < 2; ++i) {
      OP_REQUIRES_OK(
          context,
          context->allocate_output(
              i, tensorflow::TensorShape({call.sampling.draws, widths[i]}),
              &outputs[i]));
    }
    if (call.is_empty()) {
      for (tensorflow::Tensor* output : outputs) {
        if (output->NumElements() > 0) SetZero(context, output);
      }
      return;
    }
    Run(context, call, outputs[0], outputs[1]);
  }

 protected:
  virtual void SetZero(tensorflow::OpKernelContext* context,
                       tensorflow::Tensor* output) = 0;

  // Writes all of both, with positive sizes.
  virtual void Run(tensorflow::OpKernelContext* context,
                   const RowSamplingCall& call, tensorflow::Tensor* patches,
                   tensorflow::Tensor* rows) = 0;

 private:
  RowSamplingAttributes attributes_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_ROW_SAMPLING_OP_H_
