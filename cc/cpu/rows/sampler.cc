#include "cc/cpu/rows/sampler.h"

#include <algorithm>
#include <cmath>

#include "cc/common/float_types.h"
#include "cc/common/integer_math.h"

namespace tf_approxgrad {
namespace {

// Pixels of X that are squared at a time.
constexpr int64_t kPixels = 256;

// Turns the squared norms of the rows [begin, end) of dY into the squared
// products with the norms of their patches.
void MultiplyByPatchSquares(const ConvGeometry& g, const double* pixel_sums,
                            int64_t begin, int64_t end, double* squares) {
  const int64_t reach_rows = (g.filter_rows - 1) * g.dilation_rows;
  const int64_t reach_cols = (g.filter_cols - 1) * g.dilation_cols;
  int64_t image = begin / g.positions();
  int64_t out_row = begin % g.positions() / g.out_cols;
  int64_t out_col = begin % g.out_cols;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t top = out_row * g.stride_rows - g.pad_top;
    const int64_t left = out_col * g.stride_cols - g.pad_left;
    const bool is_inside = top >= 0 && top + reach_rows < g.in_rows &&
                           left >= 0 && left + reach_cols < g.in_cols;
    double sum = 0;
    for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
      const int64_t in_row = top + kh * g.dilation_rows;
      if (in_row < 0 || in_row >= g.in_rows) continue;
      const double* line =
          pixel_sums + (image * g.in_rows + in_row) * g.in_cols;
      for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
        const int64_t in_col = left + kw * g.dilation_cols;
        if (is_inside || (in_col >= 0 && in_col < g.in_cols)) {
          sum += line[in_col];
        }
      }
    }
    squares[row] *= sum;
    if (++out_col < g.out_cols) continue;
    out_col = 0;
    if (++out_row < g.out_rows) continue;
    out_row = 0;
    ++image;
  }
}

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
      preparing_(1, 1),
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
    MultiplyByPatchSquares(g, scratch_.pixel_sums, first, last, scratch_.size);
  }
  for (int64_t row = first; row < last; ++row) {
    scratch_.size[row] = std::sqrt(scratch_.size[row]);
  }
  SumParts(scratch_.size, rows(), begin, end, scratch_.part_sums);
}

template <typename T>
void RowSampler<T>::PrepareDraw() {
  double* size = scratch_.size;
  const int64_t parts = RowParts(rows());
  const double& total = scratch_.group_sums[RowGroups(rows())];
  AddUpParts(parts, scratch_.part_sums, scratch_.group_sums);
  if (sampling_.keep_largest && std::isfinite(total)) {
    const double limit = LimitOfLargest(size, rows(), draw_.draws);
    int64_t drawable = 0;
    for (int64_t row = 0; row < rows(); ++row) {
      size[row] = std::min(size[row], limit);
      drawable += size[row] > 0;
    }
    draw_.draws = std::min(draw_.draws, drawable);
    SumParts(size, rows(), 0, RowBlocks(rows()), scratch_.part_sums);
    AddUpParts(parts, scratch_.part_sums, scratch_.group_sums);
  }
  draw_.SetTotal(total);
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
  preparing_.Run([&](int64_t, int64_t) { PrepareDraw(); });
  if (!draw_.is_finite) return;
  drawing_.Run([&](int64_t begin, int64_t end) {
    DrawRows(draw_, scratch_.size, rows(), scratch_.part_sums,
             scratch_.group_sums, begin, end, scratch_.drawn);
  });
}

template class RowSampler<float>;
template class RowSampler<double>;
template class RowSampler<Bfloat16>;
template class RowSampler<Half>;

}  // namespace tf_approxgrad
