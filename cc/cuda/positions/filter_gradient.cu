#include "cc/common/integer_math.h"
#include "cc/cuda/positions/accumulation.h"
#include "cc/cuda/positions/filter_gradient.h"
#include "cc/cuda/positions/selection.h"
#include "cc/cuda/runtime/alignment.h"
#include "cc/cuda/runtime/device_limits.h"

namespace tf_approxgrad {
namespace {

constexpr size_t kScratchAlignment = 256;

// The same plan without vectors, with as many parts, so that scratch suits
// both.
CudaPlanOptions WithoutVectors(CudaPlanOptions options, const CudaPlan& plan) {
  options.vectors = false;
  options.splits = plan.splits;
  return options;
}

// With the sampled method's own selection, unless that keeps all positions.
CudaPlanOptions OptionsFor(const ConvGeometry& g, const Selection& selection,
                           CudaPlanOptions options) {
  if (selection.method == SelectionMethod::kSampled &&
      selection.k < g.positions()) {
    options.selection = CudaSelection::kSampled;
  }
  return options;
}

}  // namespace

template <typename T>
CudaPositionsFilterGradient<T>::CudaPositionsFilterGradient(
    const ConvGeometry& geometry, const Selection& selection,
    const CudaDevice& device, const CudaPlanOptions& options)
    : geometry_(geometry),
      selection_(selection),
      plan_(PlanCuda(geometry, selection.k, sizeof(T), sizeof(Accumulator),
                     device, OptionsFor(geometry, selection, options))),
      unaligned_plan_(PlanCuda(
          geometry, selection.k, sizeof(T), sizeof(Accumulator), device,
          WithoutVectors(OptionsFor(geometry, selection, options), plan_))) {}

template <typename T>
size_t CudaPositionsFilterGradient<T>::positions_bytes() const {
  const size_t bytes =
      geometry_.batch * geometry_.out_depth * selection_.k * sizeof(Kept);
  return RoundUp(bytes, kScratchAlignment);
}

template <typename T>
size_t CudaPositionsFilterGradient<T>::scratch_bytes() const {
  if (plan_.splits == 1) return positions_bytes();
  return positions_bytes() + plan_.splits * geometry_.filter_size() *
                                 geometry_.out_depth * sizeof(Accumulator);
}

template <typename T>
cudaError_t CudaPositionsFilterGradient<T>::Compute(
    double scale, const T* input, const T* out_backprop, void* scratch,
    T* filter_backprop, cudaStream_t stream) const {
  const cudaError_t status = Select(out_backprop, scratch, stream);
  if (status != cudaSuccess) return status;
  return Accumulate(scale, input, scratch, filter_backprop, stream);
}

template <typename T>
cudaError_t CudaPositionsFilterGradient<T>::Select(const T* out_backprop,
                                                   void* scratch,
                                                   cudaStream_t stream) const {
  const CudaPlan& plan = AreAligned({out_backprop}) ? plan_ : unaligned_plan_;
  return CudaSelect(geometry_, selection_, plan, out_backprop, kept(scratch),
                    stream);
}

template <typename T>
cudaError_t CudaPositionsFilterGradient<T>::Accumulate(
    double scale, const T* input, void* scratch, T* filter_backprop,
    cudaStream_t stream) const {
  const CudaPlan& plan = AreAligned({input}) ? plan_ : unaligned_plan_;
  auto* parts = reinterpret_cast<Accumulator*>(static_cast<char*>(scratch) +
                                               positions_bytes());
  return CudaAccumulate(geometry_, selection_.k, plan, scale, input,
                        kept(scratch), parts, filter_backprop, stream);
}

template class CudaPositionsFilterGradient<float>;
template class CudaPositionsFilterGradient<double>;
template class CudaPositionsFilterGradient<Bfloat16>;
template class CudaPositionsFilterGradient<Half>;

}  // namespace tf_approxgrad
