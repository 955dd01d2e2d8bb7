// What the OpKernels of both Winograd gradients have in common.

#ifndef TF_APPROXGRAD_CC_KERNELS_WINOGRAD_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_WINOGRAD_OP_H_

#include "cc/common/geometry.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/ops/conv_attributes.h"

namespace tf_approxgrad {

inline absl::Status CheckWinogradApplies(const ConvGeometry& g) {
  if (WinogradApplies(g)) return absl::OkStatus();
  return InvalidArgument(
      "the filter is ", g.filter_rows, "x", g.filter_cols, ", the strides are ",
      g.stride_rows, " and ", g.stride_cols, ", the dilations ",
      g.dilation_rows, " and ", g.dilation_cols, ", and data_format is ",
      g.layout == Layout::kNHWC ? "NHWC" : "NCHW",
      ", but a Winograd gradient needs a 3x3 filter, strides and dilations of "
      "1, and NHWC");
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_WINOGRAD_OP_H_
