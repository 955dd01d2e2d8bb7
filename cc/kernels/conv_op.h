// What the OpKernels on the tensors of a convolution have in common:
// attributes, the check of all sizes, outputs and scratch.

#ifndef TF_APPROXGRAD_CC_KERNELS_CONV_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_CONV_OP_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "cc/common/geometry.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

// The sizes of a convolution's input [batch, ...] and filter [KH, KW, Ci, Co],
// of which a gradient's op takes one as a vector and the other from a tensor.
using Sizes = std::array<int64_t, 4>;

inline absl::Status CheckRank4(const char* name,
                               const tensorflow::Tensor& tensor) {
  if (tensor.dims() == 4) return absl::OkStatus();
  return InvalidArgument(name, " has the shape ", tensor.shape().DebugString(),
                         ", but it must have 4 axes");
}

inline absl::Status ReadSizesOf(const std::string& name,
                                const tensorflow::Tensor& tensor,
                                Sizes* sizes) {
  TF_RETURN_IF_ERROR(CheckRank4(name.c_str(), tensor));
  for (int axis = 0; axis < 4; ++axis) (*sizes)[axis] = tensor.dim_size(axis);
  return absl::OkStatus();
}

inline absl::Status ReadSizes(const std::string& name,
                              const tensorflow::Tensor& vector, Sizes* sizes) {
  if (vector.dims() != 1 || vector.NumElements() != 4) {
    return InvalidArgument(name, " has the shape ",
                           vector.shape().DebugString(),
                           ", but it must be a vector of 4 elements");
  }
  const auto values = vector.vec<int32_t>();
  for (int axis = 0; axis < 4; ++axis) (*sizes)[axis] = values(axis);
  return absl::OkStatus();
}

inline absl::Status MakeGeometry(const ConvAttributes& attributes,
                                 const Sizes& input, const Sizes& filter,
                                 const tensorflow::Tensor& out_backprop,
                                 ConvGeometry* g) {
  TF_RETURN_IF_ERROR(CheckRank4("out_backprop", out_backprop));
  const int rows = attributes.rows_axis();
  const int cols = attributes.cols_axis();
  const int depth = attributes.depth_axis();
  g->layout = attributes.data_format == "NHWC" ? Layout::kNHWC : Layout::kNCHW;
  g->batch = input[0];
  g->in_rows = input[rows];
  g->in_cols = input[cols];
  g->in_depth = input[depth];
  g->filter_rows = filter[0];
  g->filter_cols = filter[1];
  g->out_depth = out_backprop.dim_size(depth);
  g->stride_rows = attributes.strides[rows];
  g->stride_cols = attributes.strides[cols];
  g->dilation_rows = attributes.dilations[rows];
  g->dilation_cols = attributes.dilations[cols];
  const std::string& input_name = attributes.input_name;
  const std::string& filter_name = attributes.filter_name;
  TF_RETURN_IF_ERROR(
      CheckEqual("the batch size of out_backprop", out_backprop.dim_size(0),
                 absl::StrCat("the batch size of ", input_name), g->batch));
  TF_RETURN_IF_ERROR(CheckEqual(
      absl::StrCat(filter_name, "[2]"), filter[2],
      absl::StrCat("the number of channels of ", input_name), g->in_depth));
  TF_RETURN_IF_ERROR(CheckEqual(absl::StrCat(filter_name, "[3]"), filter[3],
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

// Of the inputs input, filter_sizes and out_backprop.
inline absl::Status FilterBackpropGeometry(const ConvAttributes& attributes,
                                           tensorflow::OpKernelContext* context,
                                           ConvGeometry* g) {
  Sizes input, filter;
  TF_RETURN_IF_ERROR(ReadSizesOf("input", context->input(0), &input));
  TF_RETURN_IF_ERROR(CheckRank4("out_backprop", context->input(2)));
  TF_RETURN_IF_ERROR(ReadSizes("filter_sizes", context->input(1), &filter));
  return MakeGeometry(attributes, input, filter, context->input(2), g);
}

// Of the sizes of the input, and the inputs filter and out_backprop.
inline absl::Status InputBackpropGeometry(ConvAttributes attributes,
                                          const char* input_name,
                                          const Sizes& input,
                                          tensorflow::OpKernelContext* context,
                                          ConvGeometry* g) {
  attributes.input_name = input_name;
  attributes.filter_name = "filter";
  Sizes filter;
  TF_RETURN_IF_ERROR(ReadSizesOf("filter", context->input(1), &filter));
  return MakeGeometry(attributes, input, filter, context->input(2), g);
}

inline absl::Status AllocateFilter(tensorflow::OpKernelContext* context,
                                   const ConvGeometry& g,
                                   tensorflow::Tensor** filter) {
  return context->allocate_output(
      0,
      tensorflow::TensorShape(
          {g.filter_rows, g.filter_cols, g.in_depth, g.out_depth}),
      filter);
}

inline absl::Status AllocateScratch(tensorflow::OpKernelContext* context,
                                    int64_t bytes,
                                    tensorflow::Tensor* scratch) {
  return context->allocate_temp(tensorflow::DT_INT8,
                                tensorflow::TensorShape({bytes}), scratch);
}

// Reads the attributes of the convolution and, of a gradient's op, its scale.
class ConvOp : public tensorflow::OpKernel {
 public:
  explicit ConvOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadConvAttributes(context, &attributes_));
    if (!context->HasAttr("scale")) return;
    OP_REQUIRES_OK(context, context->GetAttr("scale", &scale_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("mean_over_batch", &mean_over_batch_));
    OP_REQUIRES(
        context, std::isfinite(scale_),
        InvalidArgument("scale is ", scale_, ", but it must be finite"));
  }

 protected:
  const ConvAttributes& attributes() const { return attributes_; }

  // What the gradient is multiplied by.
  double scale(const ConvGeometry& g) const {
    return mean_over_batch_ ? static_cast<double>(scale_) / g.batch
                            : static_cast<double>(scale_);
  }

 private:
  ConvAttributes attributes_;
  float scale_ = 1;
  bool mean_over_batch_ = false;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_CONV_OP_H_
