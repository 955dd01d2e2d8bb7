#include "cc/common/geometry.h"

#include <initializer_list>
#include <limits>
#include <utility>

namespace tf_approxgrad {
namespace {

// True if the product of non-negative sizes does not fit in 63 bits.
bool ProductOverflows(std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  for (int64_t size : sizes) {
    if (size == 0) return false;
  }
  for (int64_t size : sizes) {
    if (product > std::numeric_limits<int64_t>::max() / size) return true;
    product *= size;
  }
  return false;
}

}  // namespace

std::string GeometryProblem(const ConvGeometry& g) {
  const std::pair<const char*, int64_t> sizes[] = {
      {"batch", g.batch},
      {"input rows", g.in_rows},
      {"input columns", g.in_cols},
      {"input channels", g.in_depth},
      {"output rows", g.out_rows},
      {"output columns", g.out_cols},
      {"output channels", g.out_depth},
      {"filter rows", g.filter_rows},
      {"filter columns", g.filter_cols},
      {"top padding", g.pad_top},
      {"left padding", g.pad_left},
  };
  for (const auto& [name, size] : sizes) {
    if (size < 0) {
      return std::string(name) + " = " + std::to_string(size) +
             ", but it must be at least 0";
    }
  }
  const std::pair<const char*, int64_t> steps[] = {
      {"row stride", g.stride_rows},
      {"column stride", g.stride_cols},
      {"row dilation", g.dilation_rows},
      {"column dilation", g.dilation_cols},
  };
  for (const auto& [name, step] : steps) {
    if (step < 1) {
      return std::string(name) + " = " + std::to_string(step) +
             ", but it must be at least 1";
    }
  }
  if (ProductOverflows({g.batch, g.in_rows, g.in_cols, g.in_depth}) ||
      ProductOverflows({g.batch, g.out_rows, g.out_cols, g.out_depth}) ||
      ProductOverflows(
          {g.filter_rows, g.filter_cols, g.in_depth, g.out_depth})) {
    return "the tensors have more than 2^63 elements";
  }
  if (g.positions() > std::numeric_limits<int32_t>::max()) {
    return "the output has " + std::to_string(g.positions()) +
           " positions an example, but at most 2^31 - 1 are supported";
  }
  return "";
}

}  // namespace tf_approxgrad
