// The attributes that the ops share with TensorFlow's Conv2DBackpropFilter, and
// the sizes that follow from them. The shape function and the OpKernel read
// both here, so that they accept and refuse the same things in the same words.

#ifndef TF_APPROXGRAD_CC_OPS_CONV_ATTRIBUTES_H_
#define TF_APPROXGRAD_CC_OPS_CONV_ATTRIBUTES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

// An error for the user's arguments, its message the pieces put together.
template <typename... Pieces>
absl::Status InvalidArgument(const Pieces&... pieces) {
  return absl::InvalidArgumentError(absl::StrCat(pieces...));
}

struct ConvAttributes {
  std::string data_format;
  std::string padding;
  std::vector<int32_t> strides;
  std::vector<int32_t> dilations;
  std::vector<int32_t> explicit_paddings;

  // Which inputs of the op tell the sizes of the convolution's input and
  // filter, for messages.
  std::string input_name = "input";
  std::string filter_name = "filter_sizes";

  // Axis indices of a [N, H, W, C] or [N, C, H, W] tensor.
  int rows_axis() const { return data_format == "NHWC" ? 1 : 2; }
  int cols_axis() const { return data_format == "NHWC" ? 2 : 3; }
  int depth_axis() const { return data_format == "NHWC" ? 3 : 1; }
};

// Refuses attributes that no sizes could make right.
absl::Status CheckConvAttributes(const ConvAttributes& attributes);

// `Context` is an OpKernelConstruction or a shape_inference::InferenceContext.
template <typename Context>
absl::Status ReadConvAttributes(Context* context, ConvAttributes* attributes) {
  TF_RETURN_IF_ERROR(context->GetAttr("data_format", &attributes->data_format));
  TF_RETURN_IF_ERROR(context->GetAttr("padding", &attributes->padding));
  TF_RETURN_IF_ERROR(context->GetAttr("strides", &attributes->strides));
  TF_RETURN_IF_ERROR(context->GetAttr("dilations", &attributes->dilations));
  TF_RETURN_IF_ERROR(
      context->GetAttr("explicit_paddings", &attributes->explicit_paddings));
  return CheckConvAttributes(*attributes);
}

// Number of output positions along one spatial axis of the tensors, and the
// zeros that go before the input there. `axis_name` ("rows" or "columns") is
// for the message.
absl::Status OutputSize(const ConvAttributes& attributes, int axis,
                        const char* axis_name, int64_t in_size,
                        int64_t filter_size, int64_t* out_size,
                        int64_t* pad_before);

// Refuses two sizes that must be equal, in words that name both.
absl::Status CheckEqual(const std::string& what, int64_t value,
                        const std::string& must_equal, int64_t expected);

// Refuses an attribute `accumulator` that isn't the type in which sums of T are
// made.
absl::Status CheckAccumulator(tensorflow::DataType type,
                              tensorflow::DataType accumulator);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_OPS_CONV_ATTRIBUTES_H_
