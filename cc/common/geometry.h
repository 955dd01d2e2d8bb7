// The sizes of one convolution, checked once and then passed by value.

#ifndef TF_APPROXGRAD_CC_COMMON_GEOMETRY_H_
#define TF_APPROXGRAD_CC_COMMON_GEOMETRY_H_

#include <cstdint>
#include <string>

#include "cc/common/host_device.h"

namespace tf_approxgrad {

// Order of the axes in the input and in the output gradient.
enum class Layout { kNHWC, kNCHW };

// One two-dimensional convolution, in TensorFlow's terms:
//   input X                  [N, H, W, Ci]     (NHWC)
//   output gradient dY       [N, Ho, Wo, Co]   (NHWC)
//   filter gradient dF       [KH, KW, Ci, Co]
// Tap (kh, kw) of output position (row, col) reads the input element
//   (row * stride_rows + kh * dilation_rows - pad_top,
//    col * stride_cols + kw * dilation_cols - pad_left),
// and counts as zero where that lies outside the input.
struct ConvGeometry {
  Layout layout = Layout::kNHWC;
  int64_t batch = 0;
  int64_t in_rows = 0, in_cols = 0, in_depth = 0;
  int64_t out_rows = 0, out_cols = 0, out_depth = 0;
  int64_t filter_rows = 0, filter_cols = 0;
  int64_t stride_rows = 1, stride_cols = 1;
  int64_t dilation_rows = 1, dilation_cols = 1;
  int64_t pad_top = 0, pad_left = 0;

  TF_APPROXGRAD_HOST_DEVICE int64_t positions() const {
    return out_rows * out_cols;
  }
  TF_APPROXGRAD_HOST_DEVICE int64_t taps() const {
    return filter_rows * filter_cols;
  }
  // The pixel of the input, row * in_cols + col, under a tap at a position of
  // the output; -1 outside. In 32 bits, which divide faster.
  TF_APPROXGRAD_HOST_DEVICE int64_t PixelUnder(int32_t position,
                                               int32_t tap) const {
    const int32_t cols = static_cast<int32_t>(out_cols);
    const int32_t filter = static_cast<int32_t>(filter_cols);
    const int64_t row =
        position / cols * stride_rows + tap / filter * dilation_rows - pad_top;
    const int64_t col =
        position % cols * stride_cols + tap % filter * dilation_cols - pad_left;
    const bool inside = row >= 0 && row < in_rows && col >= 0 && col < in_cols;
    return inside ? row * in_cols + col : -1;
  }
  // Elements of one output channel's filter gradient.
  TF_APPROXGRAD_HOST_DEVICE int64_t filter_size() const {
    return taps() * in_depth;
  }
  TF_APPROXGRAD_HOST_DEVICE int64_t input_size() const {
    return batch * in_rows * in_cols * in_depth;
  }
  TF_APPROXGRAD_HOST_DEVICE int64_t output_size() const {
    return batch * positions() * out_depth;
  }
};

// The first thing that is wrong with the sizes, or an empty string: negative
// sizes, strides or dilations below 1, products that overflow, and maps of
// 2^31 positions or more, which the 32-bit positions of the selection could
// not name.
std::string GeometryProblem(const ConvGeometry& geometry);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_COMMON_GEOMETRY_H_
