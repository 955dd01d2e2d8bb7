// What the OpKernels of ApproxConv2DBackpropFilter and
// ApproxSampledConv2DBackpropFilter have in common on every device: attributes,
// the check of all sizes, the output. For the *_kernel.cc files, which include
// TensorFlow; the kernels don't.

#ifndef TF_APPROXGRAD_CC_KERNELS_BACKPROP_FILTER_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_BACKPROP_FILTER_OP_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "cc/kernels/geometry.h"
#include "cc/kernels/random_stream_op.h"
#include "cc/kernels/selection.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

inline absl::Status MakeGeometry(const ConvAttributes& attributes,
                                 const tensorflow::Tensor& input,
                                 const tensorflow::Tensor& filter_sizes,
                                 const tensorflow::Tensor& out_backprop,
                                 ConvGeometry* g) {
  for (const auto& [name, tensor] :
       {std::make_pair("input", &input),
        std::make_pair("out_backprop", &out_backprop)}) {
    if (tensor->dims() != 4) {
      return InvalidArgument(name, " has the shape ",
                             tensor->shape().DebugString(),
                             ", but it must have 4 axes");
    }
  }
  if (filter_sizes.dims() != 1 || filter_sizes.NumElements() != 4) {
    return InvalidArgument("filter_sizes has the shape ",
                           filter_sizes.shape().DebugString(),
                           ", but it must be a vector of 4 elements");
  }
  const auto filter = filter_sizes.vec<int32_t>();
  const int rows = attributes.rows_axis();
  const int cols = attributes.cols_axis();
  const int depth = attributes.depth_axis();
  g->layout = attributes.data_format == "NHWC" ? Layout::kNHWC : Layout::kNCHW;
  g->batch = input.dim_size(0);
  g->in_rows = input.dim_size(rows);
  g->in_cols = input.dim_size(cols);
  g->in_depth = input.dim_size(depth);
  g->filter_rows = filter(0);
  g->filter_cols = filter(1);
  g->out_depth = out_backprop.dim_size(depth);
  g->stride_rows = attributes.strides[rows];
  g->stride_cols = attributes.strides[cols];
  g->dilation_rows = attributes.dilations[rows];
  g->dilation_cols = attributes.dilations[cols];
  TF_RETURN_IF_ERROR(CheckEqual("the batch size of out_backprop",
                                out_backprop.dim_size(0),
                                "the batch size of input", g->batch));
  TF_RETURN_IF_ERROR(CheckEqual("filter_sizes[2]", filter(2),
                                "the number of channels of input",
                                g->in_depth));
  TF_RETURN_IF_ERROR(CheckEqual("filter_sizes[3]", filter(3),
                                "the number of channels of out_backprop",
                                g->out_depth));
  TF_RETURN_IF_ERROR(OutputSize(attributes, rows, "rows", g->in_rows,
                                g->filter_rows, &g->out_rows, &g->pad_top));
  TF_RETURN_IF_ERROR(OutputSize(attributes, cols, "columns", g->in_cols,
                                g->filter_cols, &g->out_cols, &g->pad_left));
  TF_RETURN_IF_ERROR(CheckEqual(
      "the number of rows of out_backprop", out_backprop.dim_size(rows),
      "the size of the convolution's output", g->out_rows));
  TF_RETURN_IF_ERROR(CheckEqual(
      "the number of columns of out_backprop", out_backprop.dim_size(cols),
      "the size of the convolution's output", g->out_cols));
  const std::string problem = GeometryProblem(*g);
  if (!problem.empty()) return InvalidArgument(problem);
  return absl::OkStatus();
}

class BackpropFilterOp : public tensorflow::OpKernel {
 public:
  explicit BackpropFilterOp(tensorflow::OpKernelConstruction* context)
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
    // Only the sampled method's op has these.
    if (!context->HasAttr("seed")) return;
    selection_.method = SelectionMethod::kSampled;
    OP_REQUIRES_OK(context, ReadRandomStream(context, &selection_.stream));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor& input = context->input(0);
    const tensorflow::Tensor& out_backprop = context->input(2);
    ConvGeometry geometry;
    OP_REQUIRES_OK(context, MakeGeometry(attributes_, input, context->input(1),
                                         out_backprop, &geometry));
    Selection selection = selection_;
    if (selection.method == SelectionMethod::kSampled) {
      OP_REQUIRES_OK(context, ReadStep(context->input(3), &selection.stream));
      OP_REQUIRES(context, geometry.batch * geometry.out_depth <= UINT32_MAX,
                  InvalidArgument("out_backprop has ", geometry.batch,
                                  " examples and ", geometry.out_depth,
                                  " channels, but their product must be less "
                                  "than 2^32"));
    }
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
    const double scale = mean_over_batch_
                             ? static_cast<double>(scale_) / geometry.batch
                             : static_cast<double>(scale_);
    if (k_share_ > 0) {
      const double nearest = std::floor(
          static_cast<double>(k_share_) * geometry.positions() + 0.5);
      selection.k = std::max<int64_t>(static_cast<int64_t>(nearest), 1);
    }
    selection.k = std::min(selection.k, geometry.positions());
    Run(context, geometry, selection, scale, input, out_backprop, output);
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

 private:
  ConvAttributes attributes_;
  // Without the step, and before k_share_ and the positions limit k.
  Selection selection_;
  float k_share_;
  float scale_;
  bool mean_over_batch_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_BACKPROP_FILTER_OP_H_
