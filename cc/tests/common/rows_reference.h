// The row-sampled method in double precision, written from its formulas and
// slow.

#ifndef TF_APPROXGRAD_CC_TESTS_COMMON_ROWS_REFERENCE_H_
#define TF_APPROXGRAD_CC_TESTS_COMMON_ROWS_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/rows/sampler.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/common/problems.h"

namespace tf_approxgrad {

inline int64_t OutputIndex(const ConvGeometry& g, int64_t row, int64_t co) {
  const int64_t p = row % g.positions();
  return ImageIndex(g.layout, row / g.positions(), p / g.out_cols,
                    p % g.out_cols, co, g.out_rows, g.out_cols, g.out_depth);
}

inline std::vector<double> ReferenceRowSizes(const ConvGeometry& g,
                                             const RowSampling& sampling,
                                             const std::vector<double>& x,
                                             const std::vector<double>& dy) {
  std::vector<double> sizes(g.batch * g.positions());
  for (size_t r = 0; r < sizes.size(); ++r) {
    const int64_t row = static_cast<int64_t>(r);
    double sum = 0;
    for (int64_t co = 0; co < g.out_depth; ++co) {
      const double value = dy[OutputIndex(g, row, co)];
      sum += value * value;
    }
    double patch = sampling.by_product ? 0 : 1;
    for (int64_t ci = 0; sampling.by_product && ci < g.in_depth; ++ci) {
      ForEachTap(g, row / g.positions(), row % g.positions(), ci,
                 [&](int64_t, int64_t at) { patch += x[at] * x[at]; });
    }
    sizes[r] = std::sqrt(sum) * std::sqrt(patch);
  }
  if (!sampling.keep_largest) return sizes;
  double limit = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < 8; ++pass) {
    double others = 0;
    int64_t left = sampling.draws;
    for (const double size : sizes) {
      left -= size >= limit;
      others += size >= limit ? 0 : size;
    }
    if (left <= 0 || others == 0) break;
    limit = std::min(limit, others / static_cast<double>(left));
  }
  for (double& size : sizes) size = std::min(size, limit);
  return sizes;
}

// Calls visit(weight, row) for every row that is drawn.
template <typename Visit>
void ForEachDrawnRow(const ConvGeometry& g, const RowSampling& sampling,
                     double scale, double uniform, const std::vector<double>& x,
                     const std::vector<double>& dy, const Visit& visit) {
  const auto sizes = ReferenceRowSizes(g, sampling, x, dy);
  double total = 0;
  int64_t drawable = 0;
  for (const double size : sizes) {
    total += size;
    drawable += size > 0;
  }
  const auto draws = static_cast<double>(
      sampling.keep_largest ? std::min(sampling.draws, drawable)
                            : sampling.draws);
  double running = 0;
  double before = 0;
  for (size_t r = 0; r < sizes.size() && total > 0; ++r) {
    running += sizes[r];
    const double end =
        std::min(std::floor(draws * running / total + uniform), draws);
    const double times = end - before;
    before = end;
    if (times == 0) continue;
    visit(scale * times * total / (draws * sizes[r]), static_cast<int64_t>(r));
  }
}

// dF [KH, KW, Ci, Co]; `magnitudes` gets the sum of the absolute terms of each
// element, which bounds the error of a sum in float32.
inline std::vector<double> ReferenceRowGradient(
    const ConvGeometry& g, const RowSampling& sampling, double scale,
    double uniform, const std::vector<double>& x, const std::vector<double>& dy,
    std::vector<double>* magnitudes) {
  std::vector<double> gradient(g.filter_size() * g.out_depth);
  magnitudes->assign(gradient.size(), 0.0);
  ForEachDrawnRow(
      g, sampling, scale, uniform, x, dy, [&](double weight, int64_t row) {
        for (int64_t ci = 0; ci < g.in_depth; ++ci) {
          ForEachTap(g, row / g.positions(), row % g.positions(), ci,
                     [&](int64_t tap, int64_t at) {
                       const int64_t first =
                           (tap * g.in_depth + ci) * g.out_depth;
                       for (int64_t co = 0; co < g.out_depth; ++co) {
                         const double term =
                             weight * x[at] * dy[OutputIndex(g, row, co)];
                         gradient[first + co] += term;
                         (*magnitudes)[first + co] += std::abs(term);
                       }
                     });
        }
      });
  return gradient;
}

// dX, laid out as X; the same otherwise.
inline std::vector<double> ReferenceRowInputGradient(
    const ConvGeometry& g, const RowSampling& sampling, double scale,
    double uniform, const std::vector<double>& x,
    const std::vector<double>& filter, const std::vector<double>& dy,
    std::vector<double>* magnitudes) {
  std::vector<double> gradient(g.input_size());
  magnitudes->assign(gradient.size(), 0.0);
  ForEachDrawnRow(
      g, sampling, scale, uniform, x, dy, [&](double weight, int64_t row) {
        for (int64_t ci = 0; ci < g.in_depth; ++ci) {
          ForEachTap(g, row / g.positions(), row % g.positions(), ci,
                     [&](int64_t tap, int64_t at) {
                       const int64_t first =
                           (tap * g.in_depth + ci) * g.out_depth;
                       for (int64_t co = 0; co < g.out_depth; ++co) {
                         const double term = weight * filter[first + co] *
                                             dy[OutputIndex(g, row, co)];
                         gradient[at] += term;
                         (*magnitudes)[at] += std::abs(term);
                       }
                     });
        }
      });
  return gradient;
}

inline std::string DescribeRows(const ConvGeometry& g,
                                const RowSampling& sampling, size_t type_size) {
  return Describe(g) + ", " + std::to_string(type_size) +
         " bytes an element, " + std::to_string(sampling.draws) + " draws" +
         (sampling.by_product ? ", product" : "") +
         (sampling.keep_largest ? ", largest kept" : "");
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_COMMON_ROWS_REFERENCE_H_
