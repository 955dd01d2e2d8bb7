// What the OpKernels of ApproxSampleRows have in common on every device: the
// check of all sizes, and the outputs.

#ifndef TF_APPROXGRAD_CC_KERNELS_SAMPLE_ROWS_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_SAMPLE_ROWS_OP_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/rows_op.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

struct SampleRowsCall {
  ConvGeometry geometry;
  RowSampling sampling;
  double uniform = 0;
};

class SampleRowsOp : public RowsOp {
 public:
  explicit SampleRowsOp(tensorflow::OpKernelConstruction* context)
      : RowsOp(context) {
    OP_REQUIRES_OK(context, CheckAccumulator(context->input_type(0),
                                             context->output_type(0)));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    SampleRowsCall call;
    OP_REQUIRES_OK(
        context, FilterBackpropGeometry(attributes(), context, &call.geometry));
    OP_REQUIRES_OK(context, CheckStepAndDraws(context));
    OP_REQUIRES_OK(context,
                   ReadSampling(context, call.geometry, &call.sampling));
    call.uniform = uniform(context);
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
    if (g.output_size() == 0 || g.input_size() == 0) {
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
                   const SampleRowsCall& call, tensorflow::Tensor* patches,
                   tensorflow::Tensor* rows) = 0;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_SAMPLE_ROWS_OP_H_
