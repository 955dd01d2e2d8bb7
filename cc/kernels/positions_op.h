// What the OpKernels of the methods that keep positions, max and sampled, have
// in common on every device and for both gradients. For the *_kernel.cc files,
// which include TensorFlow; the kernels don't.

#ifndef TF_APPROXGRAD_CC_KERNELS_POSITIONS_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_POSITIONS_OP_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cc/kernels/conv_op.h"
#include "cc/common/geometry.h"
#include "cc/kernels/random_stream_op.h"
#include "cc/common/selection.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

class PositionsOp : public tensorflow::OpKernel {
 public:
  explicit PositionsOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadConvAttributes(context, &attributes_));
    OP_REQUIRES_OK(context, context->GetAttr("k", &selection_.k));
    OP_REQUIRES_OK(context, context->GetAttr("k_share", &k_share_));
    OP_REQUIRES_OK(context, context->GetAttr("scale", &scale_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("mean_over_batch", &mean_over_batch_));
    OP_REQUIRES(context, k_share_ >= 0 && k_share_ < 1,
                InvalidArgument("k_share is ", k_share_,
                                ", but it must be at least 0 and less than 1"));
    OP_REQUIRES(
        context, std::isfinite(scale_),
        InvalidArgument("scale is ", scale_, ", but it must be finite"));
    // Only the sampled method's ops have these.
    if (!context->HasAttr("seed")) return;
    selection_.method = SelectionMethod::kSampled;
    OP_REQUIRES_OK(context, ReadRandomStream(context, &selection_.stream));
  }

 protected:
  const ConvAttributes& attributes() const { return attributes_; }

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

  double scale(const ConvGeometry& geometry) const {
    return ScaleOf(scale_, mean_over_batch_, geometry);
  }

 private:
  ConvAttributes attributes_;
  // Without the step, and before k_share_ and the positions limit k.
  Selection selection_;
  float k_share_;
  float scale_;
  bool mean_over_batch_;
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
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            0,
            tensorflow::TensorShape({geometry.filter_rows, geometry.filter_cols,
                                     geometry.in_depth, geometry.out_depth}),
            &output));
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
