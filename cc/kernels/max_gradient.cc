#include "cc/kernels/max_gradient.h"

#include <algorithm>

namespace tf_approxgrad {

template <typename T>
MaxGradient<T>::MaxGradient(const ConvGeometry& geometry, int64_t k,
                            int64_t workers, InstructionSet instruction_set)
    : geometry_(geometry),
      k_(k),
      kernels_(MaxKernelsFor<T>(instruction_set)),
      plan_(PlanAccumulation(geometry, k, sizeof(T), sizeof(Accumulator),
                             kernels_.vector_bytes)),
      tiles_(std::min(workers, plan_.units)) {}

template <typename T>
int64_t MaxGradient<T>::accumulators_size() const {
  return AlignedSize(kept()) + plan_.sums_size + tiles_ * plan_.tile_size;
}

template <typename T>
void MaxGradient<T>::Compute(double scale, const T* input,
                             const T* out_backprop, int32_t* positions,
                             Accumulator* accumulators, T* filter_backprop,
                             const ParallelFor& parallel_for) const {
  const ConvGeometry& g = geometry_;
  Accumulator* weights = accumulators;
  Accumulator* sums = weights + AlignedSize(kept());
  Accumulator* tiles = sums + plan_.sums_size;

  const int64_t selection_units = SelectionUnits(g);
  parallel_for.run(selection_units, g.output_size() / selection_units + 1,
                   [&](int64_t begin, int64_t end) {
                     kernels_.select(g, out_backprop, k_, begin, end, positions,
                                     weights);
                   });
  int32_t* class_counts = positions + kept();
  if (plan_.path == AccumulationPath::kTile) {
    parallel_for.run(
        tiles_, 2 * kept() / tiles_ + 1, [&](int64_t begin, int64_t end) {
          for (int64_t tile = begin; tile < end; ++tile) {
            kernels_.list(g, plan_, k_, g.out_depth * tile / tiles_,
                          g.out_depth * (tile + 1) / tiles_,
                          tiles + tile * plan_.tile_size, positions,
                          class_counts, weights);
          }
        });
  }
  const int64_t multiply_adds = kept() * g.filter_size();
  parallel_for.run(
      tiles_, multiply_adds / tiles_ + 1, [&](int64_t begin, int64_t end) {
        for (int64_t tile = begin; tile < end; ++tile) {
          kernels_.accumulate(
              g, plan_, k_, scale, input, positions, class_counts, weights,
              plan_.units * tile / tiles_, plan_.units * (tile + 1) / tiles_,
              tiles + tile * plan_.tile_size, sums, filter_backprop);
        }
      });
}

template class MaxGradient<float>;
template class MaxGradient<double>;
template class MaxGradient<Bfloat16>;
template class MaxGradient<Half>;

}  // namespace tf_approxgrad
