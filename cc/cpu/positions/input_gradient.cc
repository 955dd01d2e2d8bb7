#include "cc/cpu/positions/input_gradient.h"

#include <algorithm>
#include <atomic>

#include "cc/common/integer_math.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/useful_workers.h"
#include "cc/cpu/positions/scatter_plan.h"

namespace tf_approxgrad {
namespace {

// Output channels of the filter that are packed at a time.
constexpr int64_t kPackedChannels = 64;

double Work(const ConvGeometry& g, int64_t k) {
  return static_cast<double>(g.output_size() + g.input_size()) +
         static_cast<double>(g.batch) * g.out_depth * k * g.filter_size();
}

PackedFilter PackedFor(const ConvGeometry& g, const AccumulationPlan& plan) {
  PackedFilter packed;
  packed.width = plan.chunk;
  packed.chunks = plan.chunks;
  packed.tap_stride = plan.chunk;
  packed.channel_stride = g.taps() * plan.chunk;
  packed.chunk_stride = g.out_depth * packed.channel_stride;
  return packed;
}

}  // namespace

template <typename T>
PositionsInputGradient<T>::PositionsInputGradient(
    const ConvGeometry& geometry, const Selection& selection, int64_t threads,
    InstructionSet instruction_set, const CacheSizes& caches)
    : geometry_(geometry),
      selection_(selection),
      kernels_(KernelsFor<PositionsKernels<T>>(instruction_set)),
      workers_(UsefulWorkers(Work(geometry, selection.k), threads)),
      plan_(PlanScatter(geometry, selection.k, sizeof(T), sizeof(Accumulator),
                        kernels_.vector_bytes, workers_, caches)),
      packed_(PackedFor(geometry, plan_)) {
  workers_ = std::min(workers_, plan_.units);
}

template <typename T>
typename PositionsInputGradient<T>::Scratch PositionsInputGradient<T>::LayOut(
    ScratchLayout* layout) const {
  Scratch own;
  layout->Place(&own.patches,
                geometry_.batch * geometry_.out_depth * selection_.k);
  layout->Place(&own.class_counts, plan_.class_counts_size);
  layout->Place(&own.packed_filter, packed_.size());
  layout->Place(&own.tiles, workers_ * plan_.tile_size);
  return own;
}

template <typename T>
int64_t PositionsInputGradient<T>::scratch_bytes() const {
  ScratchLayout layout(nullptr);
  LayOut(&layout);
  return layout.bytes();
}

template <typename T>
void PositionsInputGradient<T>::Compute(double scale, const T* filter,
                                        const T* out_backprop, void* scratch,
                                        T* in_backprop,
                                        const RunWorkers& run_workers) const {
  const ConvGeometry& g = geometry_;
  ScratchLayout layout(scratch);
  const Scratch own = LayOut(&layout);
  const ScatterTask<T> task{g,
                            plan_,
                            selection_.k,
                            static_cast<Accumulator>(scale),
                            own.packed_filter,
                            own.patches,
                            own.class_counts,
                            in_backprop};

  const int64_t ranges = kRangesOfWorker * workers_;
  const int64_t blocks = DivideUp(g.out_depth, kPackedChannels);
  UnitQueue packing(plan_.chunks * blocks, 1);
  UnitQueue selection(SelectionUnits(g), SelectionUnits(g) / ranges);
  UnitQueue sorting(plan_.clipped ? g.out_depth : 0, g.out_depth / ranges);
  UnitQueue scattering(plan_.units, 1);
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    packing.Run([&](int64_t begin, int64_t) {
      const int64_t first = begin % blocks * kPackedChannels;
      kernels_.pack_filter(g, packed_, filter, begin / blocks, first,
                           std::min(first + kPackedChannels, g.out_depth),
                           own.packed_filter);
    });
    selection.Run([&](int64_t begin, int64_t end) {
      kernels_.select(g, plan_, selection_, out_backprop, begin, end,
                      own.patches);
    });
    sorting.Run([&](int64_t begin, int64_t end) {
      kernels_.sort(g, plan_, selection_.k, begin, end, own.patches,
                    own.class_counts);
    });
    Accumulator* tile = own.tiles + next_worker.fetch_add(1) * plan_.tile_size;
    scattering.Run(
        [&](int64_t begin, int64_t) { kernels_.scatter(task, begin, tile); });
  });
}

template class PositionsInputGradient<float>;
template class PositionsInputGradient<double>;
template class PositionsInputGradient<Bfloat16>;
template class PositionsInputGradient<Half>;

}  // namespace tf_approxgrad
