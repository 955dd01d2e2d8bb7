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
  absl::Status CheckScalars(tensorflow::OpKernelContext* context) const {
    const tensorflow::Tensor& step = context->input(3);
    const tensorflow::Tensor& draws = context->input(4);
    if (step.dims() == 0 && draws.dims() == 0) return absl::OkStatus();
    return InvalidArgument(
        "step and draws have the shapes ", step.shape().DebugString(), " and ",
        draws.shape().DebugString(), ", but they must be scalars");
  }

  // After CheckScalars. There may be no row to draw where something is empty.
  absl::Status ReadSampling(tensorflow::OpKernelContext* context,
                            const ConvGeometry& geometry,
                            RowSampling* sampling) const {
    sampling->draws = context->input(4).scalar<int64_t>()();
    sampling->by_product = by_product_;
    sampling->keep_largest = keep_largest_;
    const int64_t rows = geometry.batch * geometry.positions();
    const bool is_empty =
        geometry.output_size() == 0 || geometry.input_size() == 0;
    if (sampling->draws >= 1 && (sampling->draws <= rows || is_empty)) {
      return absl::OkStatus();
    }
    return InvalidArgument("draws is ", sampling->draws,
                           ", but it must be from 1 to ", rows,
                           ", the number of rows");
  }

  double uniform(tensorflow::OpKernelContext* context) const {
    const int64_t step = context->input(3).scalar<int64_t>()();
    return UniformOf(stream_.seed, stream_.layer, static_cast<uint64_t>(step));
  }

 private:
  bool by_product_;
  bool keep_largest_;
  RandomStream stream_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_ROWS_OP_H_
