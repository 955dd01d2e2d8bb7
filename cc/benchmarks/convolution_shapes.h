// The convolutions on which the kernels are timed, by themselves: square maps
// and filters, padding SAME.

#ifndef TF_APPROXGRAD_CC_BENCHMARKS_CONVOLUTION_SHAPES_H_
#define TF_APPROXGRAD_CC_BENCHMARKS_CONVOLUTION_SHAPES_H_

#include <algorithm>
#include <cstdint>

#include "cc/common/geometry.h"

namespace tf_approxgrad {

struct ConvolutionShape {
  int64_t batch, in_depth, out_depth, size, filter, stride;
};

// The paper's Table 1, then ResNet-50.
inline constexpr ConvolutionShape kConvolutionShapes[] = {
    {128, 256, 256, 8, 3, 1},  {128, 128, 128, 16, 3, 1},
    {128, 512, 512, 4, 3, 1},  {128, 512, 512, 2, 3, 1},
    {128, 64, 64, 32, 3, 1},   {128, 16, 16, 32, 3, 1},
    {128, 32, 32, 16, 3, 1},   {128, 64, 64, 8, 3, 1},
    {32, 64, 64, 56, 3, 1},    {32, 128, 128, 28, 3, 1},
    {32, 256, 256, 14, 3, 1},  {32, 512, 512, 7, 3, 1},
    {32, 128, 128, 56, 3, 2},  {32, 64, 256, 56, 1, 1},
    {32, 1024, 256, 14, 1, 1}, {32, 3, 64, 224, 7, 2},
};

inline ConvGeometry SameConvolution(const ConvolutionShape& s) {
  ConvGeometry g;
  g.batch = s.batch;
  g.in_rows = g.in_cols = s.size;
  g.in_depth = s.in_depth;
  g.out_depth = s.out_depth;
  g.out_rows = g.out_cols = (s.size + s.stride - 1) / s.stride;
  g.filter_rows = g.filter_cols = s.filter;
  g.stride_rows = g.stride_cols = s.stride;
  const int64_t padding = (g.out_rows - 1) * s.stride + s.filter - s.size;
  g.pad_top = g.pad_left = std::max<int64_t>(padding, 0) / 2;
  return g;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_BENCHMARKS_CONVOLUTION_SHAPES_H_
