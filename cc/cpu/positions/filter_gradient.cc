#include "cc/cpu/positions/filter_gradient.h"

#include <algorithm>
#include <atomic>

#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/useful_workers.h"

namespace tf_approxgrad {
namespace {

double Work(const ConvGeometry& g, int64_t k) {
  return static_cast<double>(g.output_size()) +
         static_cast<double>(g.batch) * g.out_depth * k * g.filter_size();
}

}  // namespace

template <typename T>
PositionsFilterGradient<T>::PositionsFilterGradient(
    const ConvGeometry& geometry, const Selection& selection, int64_t threads,
    InstructionSet instruction_set, const CacheSizes& caches)
    : geometry_(geometry),
      selection_(selection),
      kernels_(KernelsFor<PositionsKernels<T>>(instruction_set)),
      workers_(UsefulWorkers(Work(geometry, selection.k), threads)),
      plan_(PlanAccumulation(geometry, selection.k, sizeof(T),
                             sizeof(Accumulator), kernels_.vector_bytes,
                             workers_, caches)) {}

template <typename T>
int64_t PositionsFilterGradient<T>::scratch_bytes() const {
  return LineBytes(kept() * sizeof(WeightedPatch<Accumulator>)) +
         LineBytes(plan_.class_counts_size * sizeof(int32_t)) +
         workers_ * plan_.worker_size() * sizeof(Accumulator);
}

template <typename T>
void PositionsFilterGradient<T>::Compute(double scale, const T* input,
                                         const T* out_backprop, void* scratch,
                                         T* filter_backprop,
                                         const RunWorkers& run_workers) const {
  const ConvGeometry& g = geometry_;
  char* bytes = static_cast<char*>(scratch);
  auto* patches = reinterpret_cast<WeightedPatch<Accumulator>*>(bytes);
  bytes += LineBytes(kept() * sizeof(WeightedPatch<Accumulator>));
  auto* class_counts = reinterpret_cast<int32_t*>(bytes);
  bytes += LineBytes(plan_.class_counts_size * sizeof(int32_t));
  auto* workers_scratch = reinterpret_cast<Accumulator*>(bytes);
  const AccumulationTask<T> task{
      g,     plan_,   selection_.k, static_cast<Accumulator>(scale),
      input, patches, class_counts, filter_backprop};

  const int64_t ranges = kRangesOfWorker * workers_;
  UnitQueue selection(SelectionUnits(g), SelectionUnits(g) / ranges);
  UnitQueue sorting(plan_.clipped ? g.out_depth : 0, g.out_depth / ranges);
  UnitQueue accumulation(plan_.units, 1);
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    selection.Run([&](int64_t begin, int64_t end) {
      kernels_.select(g, plan_, selection_, out_backprop, begin, end, patches);
    });
    sorting.Run([&](int64_t begin, int64_t end) {
      kernels_.sort(g, plan_, selection_.k, begin, end, patches, class_counts);
    });
    WorkerScratch<Accumulator> own{workers_scratch + next_worker.fetch_add(1) *
                                                         plan_.worker_size()};
    accumulation.Run([&](int64_t begin, int64_t) {
      kernels_.accumulate(task, begin, &own);
    });
  });
}

template class PositionsFilterGradient<float>;
template class PositionsFilterGradient<double>;
template class PositionsFilterGradient<Bfloat16>;
template class PositionsFilterGradient<Half>;

}  // namespace tf_approxgrad
