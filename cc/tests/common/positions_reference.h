// The methods that keep positions in double precision, written from their
// formulas and slow.

#ifndef TF_APPROXGRAD_CC_TESTS_COMMON_POSITIONS_REFERENCE_H_
#define TF_APPROXGRAD_CC_TESTS_COMMON_POSITIONS_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/common/random_stream.h"
#include "cc/common/selection.h"

namespace tf_approxgrad {

// Index of an element of X or dY in its layout.
inline int64_t ImageIndex(Layout layout, int64_t n, int64_t row, int64_t col,
                          int64_t channel, int64_t rows, int64_t cols,
                          int64_t channels) {
  return layout == Layout::kNHWC
             ? ((n * rows + row) * cols + col) * channels + channel
             : ((n * channels + channel) * rows + row) * cols + col;
}

// The weight of each position of a channel, zero where it isn't kept.
inline std::vector<double> MaxWeights(const std::vector<double>& values,
                                      int64_t k) {
  std::vector<int64_t> order(values.size());
  double rest = 0;
  for (size_t p = 0; p < values.size(); ++p) {
    order[p] = static_cast<int64_t>(p);
    rest += values[p];
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return std::abs(values[a]) > std::abs(values[b]);
  });
  for (int64_t j = 0; j < k; ++j) rest -= values[order[j]];
  std::vector<double> weights(values.size());
  for (int64_t j = 0; j < k; ++j) {
    weights[order[j]] = values[order[j]] + rest / k;
  }
  return weights;
}

// With the draws rounded as the kernels round them: sums of values that all
// types hold exactly often meet a draw within that.
template <typename Accumulator>
std::vector<double> SampledWeights(const std::vector<double>& values, int64_t k,
                                   double u) {
  if (k == static_cast<int64_t>(values.size())) return values;
  double total = 0;
  for (const double value : values) total += std::abs(value);
  std::vector<double> weights(values.size());
  const Accumulator weight = static_cast<Accumulator>(total) / k;
  int64_t j = 0;
  double sum = 0;
  for (size_t p = 0; p < values.size(); ++p) {
    sum += std::abs(values[p]);
    for (; j < k && sum > 0; ++j) {
      const Accumulator draw =
          (static_cast<Accumulator>(j) + static_cast<Accumulator>(1 - u)) *
          weight;
      if (sum < std::min<double>(draw, total)) break;
      weights[p] += std::copysign(total / k, values[p]);
    }
  }
  return weights;
}

// Philox4x32-10 of one counter.
inline void ReferencePhilox(uint64_t key, uint32_t (&words)[4]) {
  uint32_t key0 = static_cast<uint32_t>(key);
  uint32_t key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * words[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * words[2];
    words[0] = static_cast<uint32_t>(b >> 32) ^ words[1] ^ key0;
    words[1] = static_cast<uint32_t>(b);
    words[2] = static_cast<uint32_t>(a >> 32) ^ words[3] ^ key1;
    words[3] = static_cast<uint32_t>(a);
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
}

// The uniform number of channel n * Co + co, with 24 bits, or 53 for doubles.
inline double ReferenceUniform(const RandomStream& stream, int64_t channel,
                               bool is_double) {
  uint32_t words[4] = {static_cast<uint32_t>(channel), stream.layer,
                       static_cast<uint32_t>(stream.step),
                       static_cast<uint32_t>(stream.step >> 32)};
  ReferencePhilox(stream.seed ^ (uint64_t{0x44524157} << 32), words);
  const double bits = words[0] * 0x1p32 + words[1];
  return is_double ? std::floor(bits * 0x1p-11) * 0x1p-53
                   : std::floor(bits * 0x1p-40) * 0x1p-24;
}

// The weight of each position of example n and channel co. `is_double` is true
// of tensors of doubles.
inline std::vector<double> PositionWeights(const ConvGeometry& g,
                                           const Selection& selection,
                                           const std::vector<double>& dy,
                                           int64_t n, int64_t co,
                                           bool is_double) {
  std::vector<double> values(g.positions());
  for (int64_t p = 0; p < g.positions(); ++p) {
    values[p] = dy[ImageIndex(g.layout, n, p / g.out_cols, p % g.out_cols, co,
                              g.out_rows, g.out_cols, g.out_depth)];
  }
  const double u =
      ReferenceUniform(selection.stream, n * g.out_depth + co, is_double);
  return selection.method == SelectionMethod::kLargest
             ? MaxWeights(values, selection.k)
         : is_double ? SampledWeights<double>(values, selection.k, u)
                     : SampledWeights<float>(values, selection.k, u);
}

// Calls visit(tap, element of X) for the taps of a position that lie inside,
// with the element of input channel `ci`.
template <typename Visit>
void ForEachTap(const ConvGeometry& g, int64_t n, int64_t p, int64_t ci,
                const Visit& visit) {
  for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
    const int64_t row =
        p / g.out_cols * g.stride_rows + kh * g.dilation_rows - g.pad_top;
    if (row < 0 || row >= g.in_rows) continue;
    for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
      const int64_t col =
          p % g.out_cols * g.stride_cols + kw * g.dilation_cols - g.pad_left;
      if (col < 0 || col >= g.in_cols) continue;
      visit(kh * g.filter_cols + kw,
            ImageIndex(g.layout, n, row, col, ci, g.in_rows, g.in_cols,
                       g.in_depth));
    }
  }
}

// Calls visit(weight, element of X, element of F) for every product that the
// kept positions contribute.
template <typename Visit>
void ForEachProduct(const ConvGeometry& g, const Selection& selection,
                    double scale, const std::vector<double>& dy, bool is_double,
                    const Visit& visit) {
  for (int64_t n = 0; n < g.batch; ++n) {
    for (int64_t co = 0; co < g.out_depth; ++co) {
      const auto weights = PositionWeights(g, selection, dy, n, co, is_double);
      for (int64_t p = 0; p < g.positions(); ++p) {
        const double weight = scale * weights[p];
        if (weight == 0) continue;
        for (int64_t ci = 0; ci < g.in_depth; ++ci) {
          ForEachTap(g, n, p, ci, [&](int64_t tap, int64_t at) {
            visit(weight, at, (tap * g.in_depth + ci) * g.out_depth + co);
          });
        }
      }
    }
  }
}

// dF [KH, KW, Ci, Co]; `magnitudes` gets the sum of the absolute terms of each
// element, which bounds the error of a sum in float32.
inline std::vector<double> ReferenceGradient(
    const ConvGeometry& g, const Selection& selection, double scale,
    const std::vector<double>& x, const std::vector<double>& dy,
    std::vector<double>* magnitudes, bool is_double = false) {
  std::vector<double> gradient(g.filter_size() * g.out_depth);
  magnitudes->assign(gradient.size(), 0.0);
  ForEachProduct(g, selection, scale, dy, is_double,
                 [&](double weight, int64_t in, int64_t in_filter) {
                   gradient[in_filter] += weight * x[in];
                   (*magnitudes)[in_filter] += std::abs(weight * x[in]);
                 });
  return gradient;
}

// dX, laid out as X; the same otherwise.
inline std::vector<double> ReferenceInputGradient(
    const ConvGeometry& g, const Selection& selection, double scale,
    const std::vector<double>& filter, const std::vector<double>& dy,
    std::vector<double>* magnitudes, bool is_double = false) {
  std::vector<double> gradient(g.input_size());
  magnitudes->assign(gradient.size(), 0.0);
  ForEachProduct(g, selection, scale, dy, is_double,
                 [&](double weight, int64_t in, int64_t in_filter) {
                   gradient[in] += weight * filter[in_filter];
                   (*magnitudes)[in] += std::abs(weight * filter[in_filter]);
                 });
  return gradient;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_COMMON_POSITIONS_REFERENCE_H_
