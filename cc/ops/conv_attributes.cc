#include "cc/ops/conv_attributes.h"

#include <algorithm>

#include "absl/strings/str_join.h"

namespace tf_approxgrad {
namespace {

absl::Status CheckAxes(const ConvAttributes& attributes, const char* name,
                       const std::vector<int32_t>& of_axes) {
  const std::string values = absl::StrJoin(of_axes, ", ");
  if (of_axes.size() != 4) {
    return InvalidArgument(name, " = [", values,
                           "] must have 4 elements, one for each axis of ",
                           attributes.data_format);
  }
  if (of_axes[0] != 1 || of_axes[attributes.depth_axis()] != 1) {
    return InvalidArgument(name, " = [", values,
                           "] must be 1 along the batch and channel axes of ",
                           attributes.data_format);
  }
  if (*std::min_element(of_axes.begin(), of_axes.end()) < 1) {
    return InvalidArgument(name, " = [", values, "] must be at least 1");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckConvAttributes(const ConvAttributes& attributes) {
  TF_RETURN_IF_ERROR(CheckAxes(attributes, "strides", attributes.strides));
  TF_RETURN_IF_ERROR(CheckAxes(attributes, "dilations", attributes.dilations));
  const std::vector<int32_t>& pads = attributes.explicit_paddings;
  const std::string values = absl::StrJoin(pads, ", ");
  if (attributes.padding != "EXPLICIT") {
    if (pads.empty()) return absl::OkStatus();
    return InvalidArgument("explicit_paddings = [", values,
                           "] must be empty unless padding is EXPLICIT, but "
                           "padding is ",
                           attributes.padding);
  }
  if (pads.size() != 8) {
    return InvalidArgument("explicit_paddings = [", values,
                           "] must have 8 elements, two for each axis of ",
                           attributes.data_format);
  }
  const int depth = attributes.depth_axis();
  if (*std::min_element(pads.begin(), pads.end()) < 0 || pads[0] != 0 ||
      pads[1] != 0 || pads[2 * depth] != 0 || pads[2 * depth + 1] != 0) {
    return InvalidArgument(
        "explicit_paddings = [", values,
        "] must be at least 0, and 0 along the batch and channel axes of ",
        attributes.data_format);
  }
  return absl::OkStatus();
}

absl::Status OutputSize(const ConvAttributes& attributes, int axis,
                        const char* axis_name, int64_t in_size,
                        int64_t filter_size, int64_t* out_size,
                        int64_t* pad_before) {
  const int64_t stride = attributes.strides[axis];
  const int64_t dilation = attributes.dilations[axis];
  if (filter_size < 1) {
    return InvalidArgument(attributes.filter_name, " has ", filter_size, " ",
                           axis_name, ", but must have at least 1");
  }
  const int64_t extent = (filter_size - 1) * dilation + 1;
  if (attributes.padding == "SAME") {
    *out_size = (in_size + stride - 1) / stride;
    const int64_t padding =
        std::max<int64_t>((*out_size - 1) * stride + extent - in_size, 0);
    *pad_before = padding / 2;
    return absl::OkStatus();
  }
  int64_t padded = in_size;
  *pad_before = 0;
  if (attributes.padding == "EXPLICIT") {
    *pad_before = attributes.explicit_paddings[2 * axis];
    padded += *pad_before + attributes.explicit_paddings[2 * axis + 1];
  }
  if (padded < extent) {
    return InvalidArgument("the filter covers ", extent, " ", axis_name,
                           ", but ", attributes.input_name, " has only ",
                           padded,
                           " with its padding; it must have at least as many");
  }
  *out_size = (padded - extent) / stride + 1;
  return absl::OkStatus();
}

absl::Status CheckEqual(const std::string& what, int64_t value,
                        const std::string& must_equal, int64_t expected) {
  if (value == expected) return absl::OkStatus();
  return InvalidArgument(what, " is ", value, ", but it must equal ",
                         must_equal, ", which is ", expected);
}

absl::Status CheckAccumulator(tensorflow::DataType type,
                              tensorflow::DataType accumulator) {
  const auto wanted = type == tensorflow::DT_DOUBLE ? tensorflow::DT_DOUBLE
                                                    : tensorflow::DT_FLOAT;
  if (accumulator == wanted) return absl::OkStatus();
  return InvalidArgument(
      "accumulator is ", tensorflow::DataTypeString(accumulator),
      ", but it must be ", tensorflow::DataTypeString(wanted), " for ",
      tensorflow::DataTypeString(type));
}

}  // namespace tf_approxgrad
