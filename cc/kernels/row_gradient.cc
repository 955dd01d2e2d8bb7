#include "cc/kernels/row_gradient.h"

#include <algorithm>
#include <atomic>
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

}  // namespace

template <typename T>
RowGradient<T>::RowGradient(const ConvGeometry& geometry,
                            const RowSampling& sampling, int64_t threads,
                            InstructionSet instruction_set)
    : geometry_(geometry),
      kernels_(RowKernelsFor<T>(instruction_set)),
      sampler_(geometry, sampling, kernels_),
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
  place(&own.sampler, sampler_.scratch_bytes());
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
  const RowsScratch rows = sampler_.LayOut(own.sampler);
  RowDraw draw;
  ProductTask<T> task{
      g, plan_, pixels,    out_backprop,   rows.size,      rows.drawn,
      0, 0,     own.zeros, own.piece_sums, filter_backprop};

  const int64_t in_positions = g.in_rows * g.in_cols;
  const int64_t in_chunks = Chunks(input_pixels(), kPixels);
  const int64_t size = g.filter_size() * g.out_depth;
  UnitQueue squares(sampler_.needs_pixel_sums() ? in_chunks : 0, 4);
  UnitQueue arranging(is_rearranged() ? in_chunks : 0, 1);
  UnitQueue measuring(sampler_.blocks(), 4);
  UnitQueue preparing(1, 1);
  UnitQueue drawing(sampler_.blocks(), 16);
  UnitQueue product(plan_.units(), 1);
  UnitQueue adding(plan_.pieces == 1 ? 0 : Chunks(size, kElements), 1);
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    squares.Run([&](int64_t begin, int64_t end) {
      sampler_.SquarePixels(rows, input, begin * kPixels,
                            std::min(end * kPixels, input_pixels()));
    });
    arranging.Run([&](int64_t begin, int64_t end) {
      kernels_.arrange(g.layout, input, in_positions, g.in_depth,
                       begin * kPixels, std::min(end * kPixels, input_pixels()),
                       own.pixels);
    });
    measuring.Run([&](int64_t begin, int64_t end) {
      sampler_.MeasureRows(rows, out_backprop, begin, end);
    });
    preparing.Run([&](int64_t, int64_t) {
      draw = sampler_.PrepareDraw(rows, uniform);
      if (!draw.is_finite) {
        const auto nan = std::numeric_limits<Accumulator>::quiet_NaN();
        std::fill_n(filter_backprop, size, Store<T>(nan));
        return;
      }
      task.drawn_count = draw.drawn();
      task.weight = scale * draw.weight();
    });
    if (!draw.is_finite) return;
    drawing.Run([&](int64_t begin, int64_t end) {
      sampler_.Draw(rows, draw, begin, end);
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
