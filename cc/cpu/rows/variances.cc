#include "cc/cpu/rows/variances.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>

#include "cc/common/float_types.h"
#include "cc/common/integer_math.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/useful_workers.h"
#include "cc/cpu/rows/row_squares.h"

namespace tf_approxgrad {
namespace {

// Rows that are measured, or added up, at a time.
constexpr int64_t kBlock = 4 * kRowBlock;

// Of rows that are kept, rounding leaves e beside 1.
constexpr double kRounding = 1e-9;

// A row costs about as much as this many multiply-adds, for each sampling.
constexpr double kRowWork = 300;

}  // namespace

template <typename T>
RowVariances<T>::RowVariances(const ConvGeometry& geometry,
                              const std::vector<RowSampling>& samplings,
                              int64_t threads, InstructionSet instruction_set)
    : geometry_(geometry),
      samplings_(samplings),
      kernels_(KernelsFor<RowsKernels<T>>(instruction_set)),
      workers_(UsefulWorkers(
          static_cast<double>(geometry.input_size() + geometry.output_size()) +
              kRowWork * static_cast<double>(rows()) *
                  static_cast<double>(samplings.size()),
          threads)) {}

template <typename T>
int64_t RowVariances<T>::blocks() const {
  return DivideUp(rows(), kBlock);
}

template <typename T>
typename RowVariances<T>::Scratch RowVariances<T>::LayOut(
    ScratchLayout* layout) const {
  const ConvGeometry& g = geometry_;
  Scratch own;
  layout->Place(&own.pixel_sums, g.batch * g.in_rows * g.in_cols);
  layout->Place(&own.norms, rows());
  layout->Place(&own.products, rows());
  layout->Place(&own.sums, static_cast<int64_t>(samplings_.size()) * blocks());
  return own;
}

template <typename T>
int64_t RowVariances<T>::scratch_bytes() const {
  ScratchLayout layout(nullptr);
  LayOut(&layout);
  return layout.bytes();
}

template <typename T>
typename RowVariances<T>::Rate RowVariances<T>::RateOf(
    const RowSampling& sampling, const double* size) const {
  Rate found{std::numeric_limits<double>::infinity(), 0};
  int64_t draws = sampling.draws;
  if (sampling.keep_largest) {
    found.limit = kernels_.limit_of_largest(size, rows(), draws);
    draws = std::min<int64_t>(
        draws,
        std::count_if(size, size + rows(), [](double one) { return one > 0; }));
  }
  double total = 0;
  for (int64_t row = 0; row < rows(); ++row) {
    total += std::min(size[row], found.limit);
  }
  if (total > 0) found.rate = static_cast<double>(draws) / total;
  return found;
}

template <typename T>
void RowVariances<T>::Compute(const T* input, const T* out_backprop,
                              void* scratch, double* variances,
                              const RunWorkers& run_workers) const {
  ScratchLayout layout(scratch);
  const Scratch own = LayOut(&layout);
  const auto count = static_cast<int64_t>(samplings_.size());
  RowSquares<T> squares(geometry_, kernels_, input, out_backprop,
                        own.pixel_sums);
  UnitQueue measuring(blocks(), 1);
  UnitQueue preparing(count, 1);
  UnitQueue adding(count * blocks(), 1);
  std::vector<Rate> rates(count);
  std::atomic<bool> is_finite{true};
  run_workers(workers_, [&] {
    squares.MeasurePixels();
    measuring.Run([&](int64_t begin, int64_t end) {
      const int64_t first = begin * kBlock;
      const int64_t last = std::min(end * kBlock, rows());
      squares.MeasureRows(first, last, own.norms);
      std::copy(own.norms + first, own.norms + last, own.products + first);
      squares.MultiplyByPatches(first, last, own.products);
      double sum = 0;
      for (int64_t row = first; row < last; ++row) {
        own.norms[row] = std::sqrt(own.norms[row]);
        own.products[row] = std::sqrt(own.products[row]);
        sum += own.products[row];
      }
      if (!std::isfinite(sum)) is_finite = false;
    });
    if (!is_finite) return;
    preparing.Run([&](int64_t begin, int64_t) {
      const RowSampling& sampling = samplings_[begin];
      rates[begin] = RateOf(sampling, SizesOf(sampling, own));
    });
    adding.Run([&](int64_t begin, int64_t) {
      const RowSampling& sampling = samplings_[begin / blocks()];
      const Rate& rate = rates[begin / blocks()];
      const double* size = SizesOf(sampling, own);
      const int64_t first = begin % blocks() * kBlock;
      const int64_t last = std::min(first + kBlock, rows());
      double sum = 0;
      for (int64_t row = first; row < last; ++row) {
        const double expected = std::min(size[row], rate.limit) * rate.rate;
        const double inverse = expected > 0 ? 1 / expected : 0;
        const double product = own.products[row];
        double fraction = expected;
        if (!sampling.keep_largest) {
          fraction -= static_cast<double>(static_cast<int64_t>(expected));
        } else if (expected > 1 - kRounding) {
          fraction = 0;
        }
        sum += (fraction * inverse) * (1 - fraction) *
               (product * (product * inverse));
      }
      own.sums[begin] = sum;
    });
  });
  for (int64_t i = 0; i < count; ++i) {
    const double* sums = own.sums + i * blocks();
    variances[i] = is_finite ? std::accumulate(sums, sums + blocks(), 0.0)
                             : std::numeric_limits<double>::quiet_NaN();
  }
}

template class RowVariances<float>;
template class RowVariances<double>;
template class RowVariances<Bfloat16>;
template class RowVariances<Half>;

}  // namespace tf_approxgrad
