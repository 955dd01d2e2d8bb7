#include "cc/kernels/row_gradient.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <type_traits>

#include "cc/kernels/cache_sizes.h"
#include "cc/kernels/product_plan.h"

namespace tf_approxgrad {
namespace {

// Pixels of X that are rearranged or squared at a time.
constexpr int64_t kPixels = 256;

// Elements of dF that are added up at a time.
constexpr int64_t kElements = 4096;

int64_t LineBytes(int64_t bytes) { return (bytes + 63) / 64 * 64; }

int64_t Chunks(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

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
RowGradient<T>::RowGradient(const ConvGeometry& geometry,
                            const RowSampling& sampling, int64_t threads,
                            InstructionSet instruction_set)
    : geometry_(geometry),
      sampling_(sampling),
      kernels_(RowKernelsFor<T>(instruction_set)),
      workers_(UsefulProductWorkers(geometry, sampling.draws, threads)),
      plan_(PlanProduct(geometry, sampling.draws, sizeof(Accumulator), workers_,
                        DetectedCacheSizes())),
      worker_bytes_(LineBytes(kernels_.worker_bytes(geometry, plan_))) {}

template <typename T>
bool RowGradient<T>::is_rearranged() const {
  return geometry_.layout == Layout::kNCHW ||
         !std::is_same<T, Accumulator>::value;
}

template <typename T>
typename RowGradient<T>::Scratch RowGradient<T>::LayOut(char* begin) const {
  Scratch own;
  int64_t offset = 0;
  const auto place = [&](auto** part, int64_t count) {
    *part = reinterpret_cast<std::decay_t<decltype(*part)>>(begin + offset);
    offset += LineBytes(count * sizeof(**part));
  };
  place(&own.size, rows());
  place(&own.part_sums, RowParts(rows()) + 1);
  place(&own.pixel_sums, sampling_.by_product ? input_pixels() : 0);
  place(&own.drawn, sampling_.draws);
  place(&own.pixels, is_rearranged() ? geometry_.input_size() : 0);
  place(&own.zeros, geometry_.in_depth);
  place(&own.piece_sums,
        plan_.pieces == 1
            ? 0
            : plan_.pieces * geometry_.filter_size() * geometry_.out_depth);
  place(&own.workers, workers_ * worker_bytes_);
  own.end = offset;
  return own;
}

template <typename T>
void RowGradient<T>::MeasureRows(const Scratch& own, const T* out_backprop,
                                 int64_t begin, int64_t end) const {
  const ConvGeometry& g = geometry_;
  const int64_t first = begin * kRowBlock;
  const int64_t last = std::min(end * kRowBlock, rows());
  kernels_.square_sums(g.layout, out_backprop, g.positions(), g.out_depth,
                       first, last, own.size);
  if (sampling_.by_product) {
    MultiplyByPatchSquares(g, own.pixel_sums, first, last, own.size);
  }
  for (int64_t row = first; row < last; ++row) {
    own.size[row] = std::sqrt(own.size[row]);
  }
  SumParts(own.size, rows(), begin, end, own.part_sums);
}

template <typename T>
RowDraw RowGradient<T>::PrepareDraw(const Scratch& own, double uniform) const {
  RowDraw draw;
  draw.draws = sampling_.draws;
  draw.uniform = uniform;
  const int64_t parts = RowParts(rows());
  AddUpParts(parts, own.part_sums);
  draw.is_finite = std::isfinite(own.part_sums[parts]);
  if (!draw.is_finite) return draw;
  if (sampling_.keep_largest) {
    const double limit = LimitOfLargest(own.size, rows(), draw.draws);
    int64_t drawable = 0;
    for (int64_t row = 0; row < rows(); ++row) {
      own.size[row] = std::min(own.size[row], limit);
      drawable += own.size[row] > 0;
    }
    draw.draws = std::min(draw.draws, drawable);
    SumParts(own.size, rows(), 0, RowBlocks(rows()), own.part_sums);
    AddUpParts(parts, own.part_sums);
  }
  draw.total = own.part_sums[parts];
  const double rate = static_cast<double>(draw.draws) / draw.total;
  draw.rate = std::isfinite(rate) ? rate : 0;
  return draw;
}

template <typename T>
void RowGradient<T>::Compute(double scale, double uniform, const T* input,
                             const T* out_backprop, void* scratch,
                             T* filter_backprop,
                             const RunWorkers& run_workers) const {
  const ConvGeometry& g = geometry_;
  const Scratch own = LayOut(static_cast<char*>(scratch));
  const Accumulator* pixels = own.pixels;
  if constexpr (std::is_same<T, Accumulator>::value) {
    if (!is_rearranged()) pixels = input;
  }
  std::fill_n(own.zeros, g.in_depth, Accumulator{0});
  RowDraw draw;
  ProductTask<T> task{
      g, plan_, pixels,    out_backprop,   own.size,       own.drawn,
      0, 0,     own.zeros, own.piece_sums, filter_backprop};

  const int64_t in_positions = g.in_rows * g.in_cols;
  const int64_t in_chunks = Chunks(input_pixels(), kPixels);
  const int64_t size = g.filter_size() * g.out_depth;
  UnitQueue squares(sampling_.by_product ? in_chunks : 0, 4);
  UnitQueue arranging(is_rearranged() ? in_chunks : 0, 1);
  UnitQueue measuring(RowBlocks(rows()), 4);
  UnitQueue preparing(1, 1);
  UnitQueue drawing(RowBlocks(rows()), 16);
  UnitQueue product(plan_.units(), 1);
  UnitQueue adding(plan_.pieces == 1 ? 0 : Chunks(size, kElements), 1);
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    squares.Run([&](int64_t begin, int64_t end) {
      kernels_.square_sums(
          g.layout, input, in_positions, g.in_depth, begin * kPixels,
          std::min(end * kPixels, input_pixels()), own.pixel_sums);
    });
    arranging.Run([&](int64_t begin, int64_t end) {
      kernels_.arrange(g.layout, input, in_positions, g.in_depth,
                       begin * kPixels, std::min(end * kPixels, input_pixels()),
                       own.pixels);
    });
    measuring.Run([&](int64_t begin, int64_t end) {
      MeasureRows(own, out_backprop, begin, end);
    });
    preparing.Run([&](int64_t, int64_t) {
      draw = PrepareDraw(own, uniform);
      if (!draw.is_finite) {
        const auto nan = std::numeric_limits<Accumulator>::quiet_NaN();
        std::fill_n(filter_backprop, size, Store<T>(nan));
        return;
      }
      task.drawn_count = draw.EndOf(draw.total);
      task.weight = scale * draw.total / static_cast<double>(draw.draws);
    });
    if (!draw.is_finite) return;
    drawing.Run([&](int64_t begin, int64_t end) {
      DrawRows(draw, own.size, rows(), own.part_sums, begin, end, own.drawn);
    });
    char* worker = own.workers + next_worker.fetch_add(1) * worker_bytes_;
    product.Run([&](int64_t begin, int64_t) {
      kernels_.multiply(task, begin, worker);
    });
    adding.Run([&](int64_t begin, int64_t end) {
      kernels_.add_pieces(task, begin * kElements,
                          std::min(end * kElements, size));
    });
  });
}

template class RowGradient<float>;
template class RowGradient<double>;
template class RowGradient<Bfloat16>;
template class RowGradient<Half>;

}  // namespace tf_approxgrad
