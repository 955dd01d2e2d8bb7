#include "cc/cpu/rows/input_gradient.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "cc/common/integer_math.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/cache_sizes.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/useful_workers.h"

namespace tf_approxgrad {
namespace {

// Output channels of the filter that are packed at a time.
constexpr int64_t kPackedChannels = 64;

// Panels of a chunk where there are units enough.
constexpr int64_t kMostPanels = 2;

// The sums of a group of examples, and those of a unit's chunk.
constexpr int64_t kGroupBytes = 512 * 1024;

double Work(const ConvGeometry& g, int64_t draws) {
  return static_cast<double>(g.output_size() + g.input_size()) +
         static_cast<double>(draws) * g.filter_size() * g.out_depth;
}

// The examples of a group decide the order of sums: they must not depend on
// the number of workers.
InputProductPlan PlanInputProduct(const ConvGeometry& g, int64_t draws,
                                  int64_t lanes, int64_t stored_size,
                                  int64_t accumulator_size, int64_t workers) {
  InputProductPlan plan;
  plan.streams_result =
      g.input_size() * stored_size > DetectedCacheSizes().level2;
  plan.panel = g.in_depth > lanes ? 2 * lanes : lanes;
  const int64_t panels = DivideUp(g.in_depth, plan.panel);
  plan.chunk_panels = std::min(kMostPanels, panels);
  const double image_bytes =
      static_cast<double>(g.in_rows) * g.in_cols *
      static_cast<double>(plan.chunk() * accumulator_size);
  const auto enough = static_cast<int64_t>(static_cast<double>(kProductRows) *
                                           static_cast<double>(g.batch) /
                                           static_cast<double>(draws));
  const auto fitting = static_cast<int64_t>(kGroupBytes / image_bytes);
  plan.group_images =
      std::clamp<int64_t>(std::min(enough, fitting), 1, g.batch);
  plan.groups = DivideUp(g.batch, plan.group_images);
  plan.chunks = DivideUp(panels, plan.chunk_panels);
  if (plan.units() < 2 * workers) {
    plan.chunk_panels = 1;
    plan.chunks = panels;
  }
  return plan;
}

PackedFilter PackedFor(const ConvGeometry& g, int64_t panel) {
  PackedFilter packed;
  packed.width = panel;
  packed.chunks = DivideUp(g.in_depth, panel);
  packed.channel_stride = panel;
  packed.tap_stride = g.out_depth * panel;
  packed.chunk_stride = g.taps() * packed.tap_stride;
  return packed;
}

}  // namespace

template <typename T>
RowsInputGradient<T>::RowsInputGradient(const ConvGeometry& geometry,
                                        const RowSampling& sampling,
                                        int64_t threads,
                                        InstructionSet instruction_set)
    : geometry_(geometry),
      sampling_(sampling),
      kernels_(KernelsFor<RowsKernels<T>>(instruction_set)),
      workers_(UsefulWorkers(Work(geometry, sampling.draws), threads)),
      plan_(PlanInputProduct(geometry, sampling.draws, kernels_.lanes,
                             sizeof(T), sizeof(Accumulator), workers_)),
      packed_(PackedFor(geometry, plan_.panel)),
      worker_bytes_(kernels_.input_worker_bytes(geometry, plan_)) {
  workers_ = std::min(workers_, plan_.units());
}

template <typename T>
typename RowsInputGradient<T>::Scratch RowsInputGradient<T>::LayOut(
    ScratchLayout* layout) const {
  Scratch own;
  own.rows = LayOutRowSampler(geometry_, sampling_, layout);
  layout->Place(&own.packed_filter, packed_.size());
  layout->Place(&own.workers, workers_ * worker_bytes_);
  return own;
}

template <typename T>
int64_t RowsInputGradient<T>::scratch_bytes() const {
  ScratchLayout layout(nullptr);
  LayOut(&layout);
  return layout.bytes();
}

template <typename T>
void RowsInputGradient<T>::Compute(double scale, double uniform, const T* input,
                                   const T* filter, const T* out_backprop,
                                   void* scratch, T* in_backprop,
                                   const RunWorkers& run_workers) const {
  const ConvGeometry& g = geometry_;
  ScratchLayout layout(scratch);
  const Scratch own = LayOut(&layout);
  RowSampler<T> sampler(geometry_, sampling_, kernels_, own.rows, uniform,
                        input, out_backprop);
  const int64_t blocks = DivideUp(g.out_depth, kPackedChannels);
  UnitQueue packing(packed_.chunks * blocks, 1);
  UnitQueue product(plan_.units(), 1);
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    packing.Run([&](int64_t begin, int64_t) {
      const int64_t first = begin % blocks * kPackedChannels;
      kernels_.pack_filter(g, packed_, filter, begin / blocks, first,
                           std::min(first + kPackedChannels, g.out_depth),
                           own.packed_filter);
    });
    sampler.Run();
    if (!sampler.is_finite()) return;
    const DrawnRows rows = sampler.drawn_rows(scale);
    const InputProductTask<T> task{
        g, plan_, rows, out_backprop, packed_, own.packed_filter, in_backprop};
    const int64_t group_rows = plan_.group_images * g.positions();
    const auto first_place = [&](int64_t group) {
      return std::lower_bound(rows.drawn, rows.drawn + rows.count,
                              group * group_rows) -
             rows.drawn;
    };
    char* worker = own.workers + next_worker.fetch_add(1) * worker_bytes_;
    product.Run([&](int64_t begin, int64_t) {
      const int64_t group = begin % plan_.groups;
      kernels_.multiply_input(task, begin, first_place(group),
                              first_place(group + 1), worker);
    });
  });
  if (sampler.is_finite()) return;
  const auto nan = std::numeric_limits<Accumulator>::quiet_NaN();
  std::fill_n(in_backprop, g.input_size(), Store<T>(nan));
}

template class RowsInputGradient<float>;
template class RowsInputGradient<double>;
template class RowsInputGradient<Bfloat16>;
template class RowsInputGradient<Half>;

}  // namespace tf_approxgrad
