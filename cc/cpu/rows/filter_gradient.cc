#include "cc/cpu/rows/filter_gradient.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "cc/common/integer_math.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/cache_sizes.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/rows/product_plan.h"

namespace tf_approxgrad {
namespace {

// Pixels of X that are rearranged at a time.
constexpr int64_t kPixels = 256;

// Elements of dF that are added up at a time.
constexpr int64_t kElements = 4096;

}  // namespace

template <typename T>
RowsFilterGradient<T>::RowsFilterGradient(const ConvGeometry& geometry,
                                          const RowSampling& sampling,
                                          int64_t threads,
                                          InstructionSet instruction_set)
    : geometry_(geometry),
      sampling_(sampling),
      kernels_(KernelsFor<RowsKernels<T>>(instruction_set)),
      workers_(UsefulProductWorkers(geometry, sampling.draws, threads)),
      plan_(PlanProduct(geometry, sampling.draws, sizeof(Accumulator), workers_,
                        DetectedCacheSizes())),
      worker_bytes_(LineBytes(kernels_.worker_bytes(geometry, plan_))) {}

template <typename T>
bool RowsFilterGradient<T>::is_rearranged() const {
  return geometry_.layout == Layout::kNCHW;
}

template <typename T>
typename RowsFilterGradient<T>::Scratch RowsFilterGradient<T>::LayOut(
    ScratchLayout* layout) const {
  Scratch own;
  own.rows = LayOutRowSampler(geometry_, sampling_, layout);
  layout->Place(&own.pixels, is_rearranged() ? geometry_.input_size() : 0);
  layout->Place(&own.piece_sums, plan_.pieces == 1
                                     ? 0
                                     : plan_.pieces * geometry_.filter_size() *
                                           geometry_.out_depth);
  layout->Place(&own.workers, workers_ * worker_bytes_);
  return own;
}

template <typename T>
int64_t RowsFilterGradient<T>::scratch_bytes() const {
  ScratchLayout layout(nullptr);
  LayOut(&layout);
  return layout.bytes();
}

template <typename T>
void RowsFilterGradient<T>::Compute(double scale, double uniform,
                                    const T* input, const T* out_backprop,
                                    void* scratch, T* filter_backprop,
                                    const RunWorkers& run_workers) const {
  const ConvGeometry& g = geometry_;
  ScratchLayout layout(scratch);
  const Scratch own = LayOut(&layout);

  const int64_t input_pixels = g.batch * g.in_rows * g.in_cols;
  const int64_t size = g.filter_size() * g.out_depth;
  RowSampler<T> sampler(geometry_, sampling_, kernels_, own.rows, uniform,
                        input, out_backprop);
  UnitQueue arranging(is_rearranged() ? DivideUp(input_pixels, kPixels) : 0, 1);
  UnitQueue product(plan_.units(), 1);
  UnitQueue adding(plan_.pieces == 1 ? 0 : DivideUp(size, kElements), 1);
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    arranging.Run([&](int64_t begin, int64_t end) {
      kernels_.arrange(input, g.in_rows * g.in_cols, g.in_depth,
                       begin * kPixels, std::min(end * kPixels, input_pixels),
                       own.pixels);
    });
    sampler.Run();
    if (!sampler.is_finite()) return;
    const ProductTask<T> task{g,
                              plan_,
                              is_rearranged() ? own.pixels : input,
                              out_backprop,
                              sampler.drawn_rows(scale),
                              own.piece_sums,
                              filter_backprop};
    char* worker = own.workers + next_worker.fetch_add(1) * worker_bytes_;
    product.Run([&](int64_t begin, int64_t) {
      kernels_.multiply(task, begin, worker);
    });
    adding.Run([&](int64_t begin, int64_t end) {
      kernels_.add_pieces(task, begin * kElements,
                          std::min(end * kElements, size));
    });
  });
  if (sampler.is_finite()) return;
  const auto nan = std::numeric_limits<Accumulator>::quiet_NaN();
  std::fill_n(filter_backprop, size, Store<T>(nan));
}

template class RowsFilterGradient<float>;
template class RowsFilterGradient<double>;
template class RowsFilterGradient<Bfloat16>;
template class RowsFilterGradient<Half>;

}  // namespace tf_approxgrad
