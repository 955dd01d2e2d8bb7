// What the OpKernels of max and sampled, the methods that keep positions, have
// in common on every device and for both gradients.

#ifndef TF_APPROXGRAD_CC_KERNELS_POSITIONS_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_POSITIONS_OP_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/random_stream_op.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

class PositionsOp : public ConvOp {
 public:
  explicit PositionsOp(tensorflow::OpKernelConstruction* context)
      : ConvOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("k", &selection_.k));
    OP_REQUIRES_OK(context, context->GetAttr("k_share", &k_share_));
    OP_REQUIRES(context, k_share_ >= 0 && k_share_ < 1,
                InvalidArgument("k_share is ", k_share_,
                                ", but it must be at least 0 and less than 1"));
    // Only the sampled method's ops have these.
    if (!context->HasAttr("seed")) return;
    selection_.method = SelectionMethod::kSampled;
    OP_REQUIRES_OK(context, ReadRandomStream(context, &selection_.stream));
  }

 protected:
  // The selection of a call; of an output gradient with nothing in it k is 0.
  absl::Status ReadSelection(tensorflow::OpKernelContext* context,
                             const ConvGeometry& geometry,
                             Selection* selection) const {
    *selection = selection_;
    if (selection->method == SelectionMethod::kSampled) {
      TF_RETURN_IF_ERROR(ReadStep(context->input(3), &selection->stream));
      if (geometry.batch * geometry.out_depth > UINT32_MAX) {
        return InvalidArgument(
            "out_backprop has ", geometry.batch, " examples and ",
            geometry.out_depth,
            " channels, but their product must be less than 2^32");
      }
    }
    if (k_share_ > 0) {
      const double nearest = std::floor(
          static_cast<double>(k_share_) * geometry.positions() + 0.5);
      selection->k = std::max<int64_t>(static_cast<int64_t>(nearest), 1);
    }
    selection->k = std::min(selection->k, geometry.positions());
    return absl::OkStatus();
  }

 private:
  // Without the step, and before k_share_ and the positions limit k.
  Selection selection_;
  float k_share_;
};

// The filter gradient.
class PositionsFilterOp : public PositionsOp {
 public:
  using PositionsOp::PositionsOp;

  void Compute(tensorflow::OpKernelContext* context) override {
    ConvGeometry geometry;
    Selection selection;
    OP_REQUIRES_OK(context,
                   FilterBackpropGeometry(attributes(), context, &geometry));
    OP_REQUIRES_OK(context, ReadSelection(context, geometry, &selection));
    tensorflow::Tensor* output;
    OP_REQUIRES_OK(context, AllocateFilter(context, geometry, &output));
    if (output->NumElements() == 0) return;
    if (geometry.output_size() == 0) {
      SetZero(context, output);
      return;
    }
    Run(context, geometry, selection, scale(geometry), context->input(0),
        context->input(2), output);
  }

 protected:
  virtual void SetZero(tensorflow::OpKernelContext* context,
                       tensorflow::Tensor* output) = 0;

  // Writes all of `output`, with positive sizes.
  virtual void Run(tensorflow::OpKernelContext* context,
                   const ConvGeometry& geometry, const Selection& selection,
                   double scale, const tensorflow::Tensor& input,
                   const tensorflow::Tensor& out_backprop,
                   tensorflow::Tensor* output) = 0;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_POSITIONS_OP_H_
