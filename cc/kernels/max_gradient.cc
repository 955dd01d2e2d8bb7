#include "cc/kernels/max_gradient.h"

#include "cc/kernels/accumulation.h"
#include "cc/kernels/selection.h"

namespace tf_approxgrad {

MaxGradientScratch MaxGradientScratchSizes(const ConvGeometry& g, int64_t k) {
  return {g.batch * g.out_depth * k, g.filter_size() * g.out_depth};
}

template <typename T>
void MaxGradient(const ConvGeometry& g, int64_t k, double scale, const T* input,
                 const T* out_backprop, int32_t* kept_positions,
                 typename AccumulatorOf<T>::type* kept_weights,
                 typename AccumulatorOf<T>::type* sums, T* filter_backprop,
                 const ParallelFor& parallel_for) {
  KeptPositions<typename AccumulatorOf<T>::type> kept;
  kept.k = k;
  kept.positions = kept_positions;
  kept.weights = kept_weights;

  const int64_t selection_units = SelectionUnits(g);
  parallel_for(selection_units, g.output_size() / selection_units + 1,
               [&](int64_t begin, int64_t end) {
                 SelectLargest(g, out_backprop, begin, end, kept);
               });
  const int64_t accumulation_units = AccumulationUnits(g);
  const int64_t multiply_adds = g.batch * g.out_depth * k * g.filter_size();
  parallel_for(accumulation_units, multiply_adds / accumulation_units + 1,
               [&](int64_t begin, int64_t end) {
                 AccumulatePatches(g, input, kept, scale, begin, end, sums,
                                   filter_backprop);
               });
}

template void MaxGradient<float>(const ConvGeometry&, int64_t, double,
                                 const float*, const float*, int32_t*, float*,
                                 float*, float*, const ParallelFor&);
template void MaxGradient<double>(const ConvGeometry&, int64_t, double,
                                  const double*, const double*, int32_t*,
                                  double*, double*, double*,
                                  const ParallelFor&);
template void MaxGradient<Bfloat16>(const ConvGeometry&, int64_t, double,
                                    const Bfloat16*, const Bfloat16*, int32_t*,
                                    float*, float*, Bfloat16*,
                                    const ParallelFor&);
template void MaxGradient<Half>(const ConvGeometry&, int64_t, double,
                                const Half*, const Half*, int32_t*, float*,
                                float*, Half*, const ParallelFor&);

}  // namespace tf_approxgrad
