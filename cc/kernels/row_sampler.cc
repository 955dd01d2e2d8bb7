#include "cc/kernels/row_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tf_approxgrad {
namespace {

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

template <typename T>
RowSampler<T>::RowSampler(const ConvGeometry& geometry,
                          const RowSampling& sampling,
                          const RowKernels<T>& kernels)
    : geometry_(geometry), sampling_(sampling), kernels_(kernels) {}

template <typename T>
int64_t RowSampler<T>::pixel_sums() const {
  const ConvGeometry& g = geometry_;
  return needs_pixel_sums() ? g.batch * g.in_rows * g.in_cols : 0;
}

template <typename T>
int64_t RowSampler<T>::scratch_bytes() const {
  static_assert(sizeof(double) == sizeof(int64_t), "of all parts alike");
  return sizeof(double) * (rows() + RowParts(rows()) + RowGroups(rows()) + 1 +
                           pixel_sums() + sampling_.draws);
}

template <typename T>
RowsScratch RowSampler<T>::LayOut(void* scratch) const {
  RowsScratch own;
  own.size = static_cast<double*>(scratch);
  own.part_sums = own.size + rows();
  own.group_sums = own.part_sums + RowParts(rows());
  own.pixel_sums = own.group_sums + RowGroups(rows()) + 1;
  own.drawn = reinterpret_cast<int64_t*>(own.pixel_sums + pixel_sums());
  return own;
}

template <typename T>
void RowSampler<T>::SquarePixels(const RowsScratch& own, const T* input,
                                 int64_t begin, int64_t end) const {
  const ConvGeometry& g = geometry_;
  kernels_.square_sums(g.layout, input, g.in_rows * g.in_cols, g.in_depth,
                       begin, end, own.pixel_sums);
}

template <typename T>
void RowSampler<T>::MeasureRows(const RowsScratch& own, const T* out_backprop,
                                int64_t begin, int64_t end) const {
  const ConvGeometry& g = geometry_;
  const int64_t first = begin * kRowBlock;
  const int64_t last = std::min(end * kRowBlock, rows());
  kernels_.square_sums(g.layout, out_backprop, g.positions(), g.out_depth,
                       first, last, own.size);
  if (needs_pixel_sums()) {
    MultiplyByPatchSquares(g, own.pixel_sums, first, last, own.size);
  }
  for (int64_t row = first; row < last; ++row) {
    own.size[row] = std::sqrt(own.size[row]);
  }
  SumParts(own.size, rows(), begin, end, own.part_sums);
}

template <typename T>
RowDraw RowSampler<T>::PrepareDraw(const RowsScratch& own,
                                   double uniform) const {
  RowDraw draw;
  draw.draws = sampling_.draws;
  draw.uniform = uniform;
  const int64_t parts = RowParts(rows());
  const double& total = own.group_sums[RowGroups(rows())];
  AddUpParts(parts, own.part_sums, own.group_sums);
  if (sampling_.keep_largest && std::isfinite(total)) {
    const double limit = LimitOfLargest(own.size, rows(), draw.draws);
    int64_t drawable = 0;
    for (int64_t row = 0; row < rows(); ++row) {
      own.size[row] = std::min(own.size[row], limit);
      drawable += own.size[row] > 0;
    }
    draw.draws = std::min(draw.draws, drawable);
    SumParts(own.size, rows(), 0, blocks(), own.part_sums);
    AddUpParts(parts, own.part_sums, own.group_sums);
  }
  draw.SetTotal(total);
  return draw;
}

template <typename T>
void RowSampler<T>::Draw(const RowsScratch& own, const RowDraw& draw,
                         int64_t begin, int64_t end) const {
  DrawRows(draw, own.size, rows(), own.part_sums, own.group_sums, begin, end,
           own.drawn);
}

template <typename T>
RowDraw RowSampler<T>::Sample(double uniform, const T* input,
                              const T* out_backprop, void* scratch,
                              Accumulator* patches,
                              Accumulator* weighted) const {
  const ConvGeometry& g = geometry_;
  const RowsScratch own = LayOut(scratch);
  const int64_t pixels = g.in_rows * g.in_cols;
  if (needs_pixel_sums()) SquarePixels(own, input, 0, g.batch * pixels);
  MeasureRows(own, out_backprop, 0, blocks());
  const RowDraw draw = PrepareDraw(own, uniform);
  std::fill_n(patches, sampling_.draws * g.filter_size(), Accumulator{0});
  if (!draw.is_finite) {
    std::fill_n(weighted, sampling_.draws * g.out_depth,
                std::numeric_limits<Accumulator>::quiet_NaN());
    return draw;
  }
  std::fill_n(weighted, sampling_.draws * g.out_depth, Accumulator{0});
  Draw(own, draw, 0, blocks());
  const bool is_nhwc = g.layout == Layout::kNHWC;
  for (int64_t place = 0; place < draw.drawn(); ++place) {
    const int64_t row = own.drawn[place];
    const int64_t image = row / g.positions();
    const auto position = static_cast<int32_t>(row % g.positions());
    const auto weight = static_cast<Accumulator>(draw.weight() / own.size[row]);
    for (int64_t co = 0; co < g.out_depth; ++co) {
      const int64_t at =
          is_nhwc ? row * g.out_depth + co
                  : (image * g.out_depth + co) * g.positions() + position;
      weighted[place * g.out_depth + co] = Load(out_backprop[at]) * weight;
    }
    for (int32_t tap = 0; tap < g.taps(); ++tap) {
      const int64_t pixel = g.PixelUnder(position, tap);
      if (pixel < 0) continue;
      Accumulator* patch = patches + (place * g.taps() + tap) * g.in_depth;
      for (int64_t ci = 0; ci < g.in_depth; ++ci) {
        const int64_t at = is_nhwc ? (image * pixels + pixel) * g.in_depth + ci
                                   : (image * g.in_depth + ci) * pixels + pixel;
        patch[ci] = Load(input[at]);
      }
    }
  }
  return draw;
}

template class RowSampler<float>;
template class RowSampler<double>;
template class RowSampler<Bfloat16>;
template class RowSampler<Half>;

}  // namespace tf_approxgrad
