// What the OpKernels that draw rows have in common: those of both gradients,
// and ApproxSampleRows.

#ifndef TF_APPROXGRAD_CC_KERNELS_ROWS_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_ROWS_OP_H_

#include <cstdint>
#include <string>

#include "cc/common/geometry.h"
#include "cc/common/random_stream.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/rows/sampler.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/random_stream_op.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

// Input 3 is the step, input 4 the number of draws.
class RowsOp : public ConvOp {
 public:
  explicit RowsOp(tensorflow::OpKernelConstruction* context) : ConvOp(context) {
    std::string probability;
    OP_REQUIRES_OK(context, context->GetAttr("probability", &probability));
    by_product_ = probability == "product";
    OP_REQUIRES_OK(context, context->GetAttr("keep_largest", &keep_largest_));
    OP_REQUIRES_OK(context, ReadRandomStream(context, &stream_));
  }

 protected:
  // After CheckStepAndDraws. There may be no row to draw where something is
  // empty.
  absl::Status ReadSampling(tensorflow::OpKernelContext* context,
                            const ConvGeometry& geometry,
                            RowSampling* sampling) const {
    sampling->draws = context->input(4).scalar<int64_t>()();
    sampling->by_product = by_product_;
    sampling->keep_largest = keep_largest_;
    const int64_t rows = geometry.batch * geometry.positions();
    const bool is_empty =
        geometry.output_size() == 0 || geometry.input_size() == 0;
    if (is_empty && sampling->draws >= 1) return absl::OkStatus();
    return CheckDraws(sampling->draws, rows, "rows");
  }

  double uniform(tensorflow::OpKernelContext* context) const {
    RandomStream stream = stream_;
    stream.step = static_cast<uint64_t>(context->input(3).scalar<int64_t>()());
    return UniformOf(stream, kRowsKey);
  }

 private:
  bool by_product_;
  bool keep_largest_;
  RandomStream stream_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_ROWS_OP_H_
