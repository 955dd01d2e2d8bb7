#include "cc/cpu/rows/sampler.h"

#include <algorithm>
#include <cmath>

#include "cc/common/float_types.h"
#include "cc/common/integer_math.h"

namespace tf_approxgrad {
namespace {

// Pixels of X that are squared at a time.
constexpr int64_t kPixels = 256;

}  // namespace

RowSamplerScratch LayOutRowSampler(const ConvGeometry& g,
                                   const RowSampling& sampling,
                                   ScratchLayout* layout) {
  RowSamplerScratch own;
  const int64_t rows = g.batch * g.positions();
  layout->Place(&own.size, rows);
  layout->Place(&own.part_sums, RowParts(rows));
  layout->Place(&own.group_sums, RowGroups(rows) + 1);
  layout->Place(&own.pixel_sums,
                sampling.by_product ? g.batch * g.in_rows * g.in_cols : 0);
  layout->Place(&own.drawn, sampling.draws);
  return own;
}

template <typename T>
RowSampler<T>::RowSampler(const ConvGeometry& geometry,
                          const RowSampling& sampling,
                          const RowsKernels<T>& kernels,
                          const RowSamplerScratch& scratch, double uniform,
                          const T* input, const T* out_backprop)
    : geometry_(geometry),
      sampling_(sampling),
      kernels_(kernels),
      scratch_(scratch),
      input_(input),
      out_backprop_(out_backprop),
      squares_(sampling.by_product ? DivideUp(input_pixels(), kPixels) : 0, 4),
      measuring_(RowBlocks(rows()), 4),
      adding_up_(1, 1),
      lowering_(RowBlocks(rows()), 16),
      totalling_(1, 1),
      drawing_(RowBlocks(rows()), 16) {
  draw_.draws = sampling.draws;
  draw_.uniform = uniform;
}

template <typename T>
void RowSampler<T>::MeasureRows(int64_t begin, int64_t end) const {
  const ConvGeometry& g = geometry_;
  const int64_t first = begin * kRowBlock;
  const int64_t last = std::min(end * kRowBlock, rows());
  kernels_.square_sums(g.layout, out_backprop_, g.positions(), g.out_depth,
                       first, last, scratch_.size);
  if (sampling_.by_product) {
    kernels_.multiply_by_patch_squares(g, scratch_.pixel_sums, first, last,
                                       scratch_.size);
  }
  for (int64_t row = first; row < last; ++row) {
    scratch_.size[row] = std::sqrt(scratch_.size[row]);
  }
  kernels_.sum_parts(scratch_.size, rows(), begin, end, scratch_.part_sums);
}

template <typename T>
double RowSampler<T>::AddUp() const {
  AddUpParts(RowParts(rows()), scratch_.part_sums, scratch_.group_sums);
  return scratch_.group_sums[RowGroups(rows())];
}

template <typename T>
void RowSampler<T>::LowerSizes() {
  lowering_.Run([&](int64_t begin, int64_t end) {
    drawable_.fetch_add(kernels_.lower_sizes(limit_, begin * kRowBlock,
                                             std::min(end * kRowBlock, rows()),
                                             scratch_.size));
    kernels_.sum_parts(scratch_.size, rows(), begin, end, scratch_.part_sums);
  });
  totalling_.Run([&](int64_t, int64_t) {
    draw_.draws = std::min(draw_.draws, drawable_.load());
    draw_.SetTotal(AddUp());
  });
}

template <typename T>
void RowSampler<T>::Run() {
  const ConvGeometry& g = geometry_;
  squares_.Run([&](int64_t begin, int64_t end) {
    kernels_.square_sums(
        g.layout, input_, g.in_rows * g.in_cols, g.in_depth, begin * kPixels,
        std::min(end * kPixels, input_pixels()), scratch_.pixel_sums);
  });
  measuring_.Run([&](int64_t begin, int64_t end) { MeasureRows(begin, end); });
  adding_up_.Run([&](int64_t, int64_t) {
    draw_.SetTotal(AddUp());
    // Not draw_'s own, which another thread writes again when it totals.
    is_finite_ = draw_.is_finite;
    if (!sampling_.keep_largest || !is_finite_) return;
    limit_ = kernels_.limit_of_largest(scratch_.size, rows(), draw_.draws);
  });
  if (!is_finite_) return;
  if (sampling_.keep_largest) LowerSizes();
  drawing_.Run([&](int64_t begin, int64_t end) {
    kernels_.draw_rows(draw_, scratch_.size, rows(), scratch_.part_sums,
                       scratch_.group_sums, begin, end, scratch_.drawn);
  });
}

template class RowSampler<float>;
template class RowSampler<double>;
template class RowSampler<Bfloat16>;
template class RowSampler<Half>;

}  // namespace tf_approxgrad
