#include "cc/cuda/positions/max_gradient_pays.h"

#include <algorithm>

namespace tf_approxgrad {
namespace {

// Guesses: what a tuned library reaches of a rate in the data sheet, and
// what these kernels do of theirs.
constexpr double kDenseShare = 0.7;
constexpr double kMaxShare = 0.8;

int64_t ElementBytes(CudaArithmetic arithmetic) {
  switch (arithmetic) {
    case CudaArithmetic::kFloat64:
      return 8;
    case CudaArithmetic::kBfloat16:
    case CudaArithmetic::kHalf:
      return 2;
    default:
      return 4;
  }
}

// Multiply-adds of a multiprocessor in a cycle, from the data sheets, with sums
// in float32 (float64 of float64).
double MultiplyAddsPerCycle(CudaArithmetic arithmetic, int capability) {
  const bool data_center = capability == 80 || capability == 90 ||
                           (capability >= 100 && capability < 120);
  const double generation = capability >= 100 ? 4 : capability >= 90 ? 2 : 1;
  const double float32 = capability == 75 || capability == 80 ? 64 : 128;
  switch (arithmetic) {
    case CudaArithmetic::kFloat32:
      return float32;
    case CudaArithmetic::kTensorFloat32:
      if (capability < 80) return float32;
      return data_center ? 512 * generation : 128;
    case CudaArithmetic::kFloat64:
      return data_center ? 64 * std::min(generation, 2.0) : 2;
    case CudaArithmetic::kBfloat16:
      if (capability < 80) return float32;
      return data_center ? 1024 * generation : 256;
    case CudaArithmetic::kHalf:
      if (capability < 80) return 512;
      return data_center ? 1024 * generation : 256;
  }
  return float32;
}

// Pairs of an output row and a filter row (or columns) that meet the input.
double PairsInside(int64_t in, int64_t out, int64_t filter, int64_t stride,
                   int64_t dilation, int64_t pad) {
  double pairs = 0;
  for (int64_t f = 0; f < filter; ++f) {
    // Outputs o with 0 <= o * stride + offset < in.
    const int64_t offset = f * dilation - pad;
    const int64_t first =
        offset >= 0 ? 0 : std::min(out, (-offset + stride - 1) / stride);
    const int64_t end =
        offset >= in ? 0 : std::min(out, (in - offset - 1) / stride + 1);
    pairs += static_cast<double>(std::max<int64_t>(end - first, 0));
  }
  return pairs;
}

// Of an average position, the taps that lie inside the input.
double TapsInside(const ConvGeometry& g) {
  return PairsInside(g.in_rows, g.out_rows, g.filter_rows, g.stride_rows,
                     g.dilation_rows, g.pad_top) *
         PairsInside(g.in_cols, g.out_cols, g.filter_cols, g.stride_cols,
                     g.dilation_cols, g.pad_left) /
         g.positions();
}

}  // namespace

double PredictedMaxSeconds(const ConvGeometry& g, int64_t k,
                           CudaArithmetic arithmetic,
                           const CudaDevice& device) {
  const int64_t bytes = ElementBytes(arithmetic);
  const int64_t accumulator_bytes = std::max<int64_t>(bytes, 4);
  const CudaPlan plan =
      PlanCuda(g, k, bytes, accumulator_bytes, device, CudaPlanOptions());
  const double cycles = device.clock_hertz * device.multiprocessors * kMaxShare;
  const double memory = device.bytes_per_second * kMaxShare;

  const double selection = g.output_size() * bytes / memory;

  const double kept = static_cast<double>(g.batch) * g.out_depth * k;
  const double patches = kept * TapsInside(g) * g.in_depth * bytes;
  const double input = static_cast<double>(g.input_size()) * bytes;
  const double gradient =
      static_cast<double>(g.filter_size()) * g.out_depth * accumulator_bytes;
  const double parts = plan.splits > 1 ? 2 * plan.splits * gradient : 0;
  // Each block of output channels reads the input, or its patches if they are
  // fewer, from L2.
  const double read = std::min(patches, input * plan.out_blocks(g));
  const double accumulation =
      std::max({patches / (kSharedBytesPerCycle * cycles),
                (read + parts) / (kL2BytesPerCycle * cycles),
                (std::min(patches, input) + gradient) / memory});
  const int launches = plan.splits > 1 ? 3 : 2;
  return selection + accumulation + launches * kLaunchSeconds;
}

double PredictedDenseSeconds(const ConvGeometry& g, CudaArithmetic arithmetic,
                             const CudaDevice& device) {
  const int64_t bytes = ElementBytes(arithmetic);
  const double multiply_adds =
      static_cast<double>(g.output_size()) * g.taps() * g.in_depth;
  const double rate =
      MultiplyAddsPerCycle(arithmetic, device.compute_capability) *
      device.multiprocessors * device.clock_hertz;
  const double moved = static_cast<double>(g.input_size() + g.output_size() +
                                           g.filter_size() * g.out_depth) *
                       bytes;
  return std::max(multiply_adds / rate, moved / device.bytes_per_second) /
             kDenseShare +
         kLaunchSeconds;
}

bool MaxGradientPays(const ConvGeometry& g, int64_t k,
                     CudaArithmetic arithmetic, const CudaDevice& device) {
  return PredictedMaxSeconds(g, k, arithmetic, device) <
         PredictedDenseSeconds(g, arithmetic, device);
}

}  // namespace tf_approxgrad
