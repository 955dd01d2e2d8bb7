#include "cc/ops/backprop_shapes.h"

#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/common_shape_fns.h"

namespace tf_approxgrad {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status CheckRank(InferenceContext* c, int index, const char* name,
                       int rank, ShapeHandle* shape) {
  if (!c->WithRank(c->input(index), rank, shape).ok()) {
    return InvalidArgument(
        name, " has the shape ", c->DebugString(c->input(index)),
        ", but it must have ", rank, rank == 1 ? " axis" : " axes");
  }
  return absl::OkStatus();
}

// Refuses two dimensions that are known and differ.
absl::Status CheckDimensions(InferenceContext* c, const std::string& what,
                             DimensionHandle dimension,
                             const std::string& must_equal,
                             DimensionHandle expected) {
  if (!c->ValueKnown(dimension) || !c->ValueKnown(expected)) {
    return absl::OkStatus();
  }
  return CheckEqual(what, c->Value(dimension), must_equal, c->Value(expected));
}

absl::Status CheckSpatialAxis(InferenceContext* c,
                              const ConvAttributes& attributes, int axis,
                              const char* axis_name, const char* out_name,
                              DimensionHandle in_dimension,
                              DimensionHandle filter_dimension,
                              DimensionHandle out_dimension) {
  if (!c->ValueKnown(in_dimension) || !c->ValueKnown(filter_dimension)) {
    return absl::OkStatus();
  }
  int64_t out_size;
  int64_t pad_before;
  TF_RETURN_IF_ERROR(
      OutputSize(attributes, axis, axis_name, c->Value(in_dimension),
                 c->Value(filter_dimension), &out_size, &pad_before));
  if (!c->ValueKnown(out_dimension)) return absl::OkStatus();
  return CheckEqual(out_name, c->Value(out_dimension),
                    "the size of the convolution's output", out_size);
}

// The shape that a vector of sizes stands for.
absl::Status ShapeOfSizes(InferenceContext* c, int index, const char* name,
                          ShapeHandle* shape) {
  ShapeHandle sizes;
  TF_RETURN_IF_ERROR(CheckRank(c, index, name, 1, &sizes));
  TF_RETURN_IF_ERROR(CheckDimensions(c, absl::StrCat("the length of ", name),
                                     c->Dim(sizes, 0), "the number of its axes",
                                     c->MakeDim(4)));
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(index, shape));
  return c->WithRank(*shape, 4, shape);
}

// Input 3 may be the step.
absl::Status CheckStep(InferenceContext* c) {
  if (c->num_inputs() == 3) return absl::OkStatus();
  ShapeHandle step;
  return CheckRank(c, 3, "step", 0, &step);
}

absl::Status CheckStepAndDraws(InferenceContext* c) {
  ShapeHandle unused;
  if (c->WithRank(c->input(3), 0, &unused).ok() &&
      c->WithRank(c->input(4), 0, &unused).ok()) {
    return absl::OkStatus();
  }
  return InvalidArgument(
      "step and draws have the shapes ", c->DebugString(c->input(3)), " and ",
      c->DebugString(c->input(4)), ", but they must be scalars");
}

absl::Status CheckConvolution(InferenceContext* c,
                              const ConvAttributes& attributes,
                              ShapeHandle input, ShapeHandle filter,
                              ShapeHandle out_backprop) {
  const int rows = attributes.rows_axis();
  const int cols = attributes.cols_axis();
  const int depth = attributes.depth_axis();
  TF_RETURN_IF_ERROR(CheckDimensions(
      c, "the batch size of out_backprop", c->Dim(out_backprop, 0),
      absl::StrCat("the batch size of ", attributes.input_name),
      c->Dim(input, 0)));
  TF_RETURN_IF_ERROR(CheckDimensions(
      c, absl::StrCat(attributes.filter_name, "[2]"), c->Dim(filter, 2),
      absl::StrCat("the number of channels of ", attributes.input_name),
      c->Dim(input, depth)));
  TF_RETURN_IF_ERROR(CheckDimensions(
      c, absl::StrCat(attributes.filter_name, "[3]"), c->Dim(filter, 3),
      "the number of channels of out_backprop", c->Dim(out_backprop, depth)));
  TF_RETURN_IF_ERROR(CheckSpatialAxis(
      c, attributes, rows, "rows", "the number of rows of out_backprop",
      c->Dim(input, rows), c->Dim(filter, 0), c->Dim(out_backprop, rows)));
  return CheckSpatialAxis(
      c, attributes, cols, "columns", "the number of columns of out_backprop",
      c->Dim(input, cols), c->Dim(filter, 1), c->Dim(out_backprop, cols));
}

absl::Status ShapeOfInputBackprop(InferenceContext* c, const char* input_name,
                                  ShapeHandle input) {
  ConvAttributes attributes;
  TF_RETURN_IF_ERROR(ReadConvAttributes(c, &attributes));
  attributes.input_name = input_name;
  attributes.filter_name = "filter";
  ShapeHandle filter;
  ShapeHandle out_backprop;
  TF_RETURN_IF_ERROR(CheckRank(c, 1, "filter", 4, &filter));
  TF_RETURN_IF_ERROR(CheckStep(c));
  TF_RETURN_IF_ERROR(CheckRank(c, 2, "out_backprop", 4, &out_backprop));
  TF_RETURN_IF_ERROR(
      CheckConvolution(c, attributes, input, filter, out_backprop));
  // What the input's shape leaves open, the other tensors may still tell.
  const int depth = attributes.depth_axis();
  DimensionHandle batch;
  DimensionHandle in_depth;
  ShapeHandle output;
  TF_RETURN_IF_ERROR(
      c->Merge(c->Dim(input, 0), c->Dim(out_backprop, 0), &batch));
  TF_RETURN_IF_ERROR(
      c->Merge(c->Dim(input, depth), c->Dim(filter, 2), &in_depth));
  TF_RETURN_IF_ERROR(c->ReplaceDim(input, 0, batch, &output));
  TF_RETURN_IF_ERROR(c->ReplaceDim(output, depth, in_depth, &output));
  c->set_output(0, output);
  return absl::OkStatus();
}

}  // namespace

absl::Status ShapeOfFilterBackprop(InferenceContext* c) {
  ConvAttributes attributes;
  TF_RETURN_IF_ERROR(ReadConvAttributes(c, &attributes));
  ShapeHandle input;
  ShapeHandle filter;
  ShapeHandle out_backprop;
  TF_RETURN_IF_ERROR(CheckRank(c, 0, "input", 4, &input));
  TF_RETURN_IF_ERROR(ShapeOfSizes(c, 1, "filter_sizes", &filter));
  TF_RETURN_IF_ERROR(CheckRank(c, 2, "out_backprop", 4, &out_backprop));
  TF_RETURN_IF_ERROR(
      CheckConvolution(c, attributes, input, filter, out_backprop));
  const int depth = attributes.depth_axis();

  // What filter_sizes leaves open, the channels of the tensors may still tell.
  DimensionHandle in_depth;
  DimensionHandle out_depth;
  TF_RETURN_IF_ERROR(
      c->Merge(c->Dim(filter, 2), c->Dim(input, depth), &in_depth));
  TF_RETURN_IF_ERROR(
      c->Merge(c->Dim(filter, 3), c->Dim(out_backprop, depth), &out_depth));
  c->set_output(0, c->MakeShape({c->Dim(filter, 0), c->Dim(filter, 1), in_depth,
                                 out_depth}));
  return absl::OkStatus();
}

absl::Status BackpropFilterShape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(CheckStep(c));
  return ShapeOfFilterBackprop(c);
}

absl::Status BackpropInputShape(InferenceContext* c) {
  ShapeHandle input;
  TF_RETURN_IF_ERROR(ShapeOfSizes(c, 0, "input_sizes", &input));
  return ShapeOfInputBackprop(c, "input_sizes", input);
}

absl::Status DrawnFilterShape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(CheckStepAndDraws(c));
  return BackpropFilterShape(c);
}

absl::Status DrawnInputShape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(CheckStepAndDraws(c));
  ShapeHandle input;
  TF_RETURN_IF_ERROR(CheckRank(c, 0, "input", 4, &input));
  return ShapeOfInputBackprop(c, "input", input);
}

}  // namespace tf_approxgrad
