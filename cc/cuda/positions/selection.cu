// Chooses and starts the kernels of the selection.

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/integer_math.h"
#include "cc/cuda/positions/selection.h"
#include "cc/cuda/positions/selection_max_kernels.h"
#include "cc/cuda/positions/selection_max_sorted_kernels.h"
#include "cc/cuda/positions/selection_sampled_kernels.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

unsigned BlocksFor(int64_t items, int64_t items_of_block) {
  return static_cast<unsigned>(DivideUp(items, items_of_block));
}

template <typename T, int kVector, int kMost>
cudaError_t LaunchPlanes(
    const ConvGeometry& g, int k, const CudaPlan& plan, const T* out_backprop,
    WeightedPosition<typename AccumulatorOf<T>::type>* kept,
    cudaStream_t stream) {
  const int64_t planes = g.batch * g.out_depth;
  const int lanes = static_cast<int>(plan.selection_lanes);
  LaunchShape shape;
  shape.block = dim3(kCudaSelectionThreads);
  shape.grid = dim3(BlocksFor(planes, kCudaSelectionThreads / lanes));
  return Launch(shape, stream, SelectPlanes<T, kVector, kMost>, planes,
                g.positions(), k, lanes, out_backprop, kept);
}

template <typename T, int kVector, int kMost>
cudaError_t LaunchRows(const ConvGeometry& g, int k, const CudaPlan& plan,
                       const T* out_backprop,
                       WeightedPosition<typename AccumulatorOf<T>::type>* kept,
                       cudaStream_t stream) {
  const int64_t channels = plan.selection_lanes * kVector;
  const int64_t items = g.batch * DivideUp(g.out_depth, channels);
  LaunchShape shape;
  shape.block = dim3(kCudaSelectionThreads);
  shape.grid = dim3(BlocksFor(items, kSelectionWarps / plan.selection_warps));
  if (plan.selection_warps > 1) {
    shape.shared_bytes =
        kSelectionWarps * channels * sizeof(LargestOf<T, kMost>);
  }
  return Launch(shape, stream, SelectRows<T, kVector, kMost>, g.batch,
                g.positions(), g.out_depth, k,
                static_cast<int>(plan.selection_lanes),
                static_cast<int>(plan.selection_warps), out_backprop, kept);
}

template <typename T, int kMost>
cudaError_t SelectLargest(
    const ConvGeometry& g, int k, const CudaPlan& plan, const T* out_backprop,
    WeightedPosition<typename AccumulatorOf<T>::type>* kept,
    cudaStream_t stream) {
  constexpr int kVector = sizeof(uint4) / sizeof(T);
  constexpr int kRowVector = CudaRowVector(kMost, sizeof(T));
  const bool single = plan.selection_vector == 1;
  const auto launch = plan.selection == CudaSelection::kPlanes
                          ? (single ? LaunchPlanes<T, 1, kMost>
                                    : LaunchPlanes<T, kVector, kMost>)
                          : (single ? LaunchRows<T, 1, kMost>
                                    : LaunchRows<T, kRowVector, kMost>);
  return launch(g, k, plan, out_backprop, kept, stream);
}

template <typename T, int kVector>
cudaError_t SelectDrawn(const ConvGeometry& g, const Selection& selection,
                        const CudaPlan& plan, const T* out_backprop,
                        WeightedPosition<typename AccumulatorOf<T>::type>* kept,
                        cudaStream_t stream) {
  const int64_t lanes = plan.selection_lanes;
  const int64_t segment = SegmentRows(g.positions());
  const int64_t segments = DivideUp(g.positions(), segment);
  const int64_t groups =
      kCudaSelectionThreads / (lanes * plan.selection_workers);
  LaunchShape shape;
  shape.block = dim3(kCudaSelectionThreads);
  shape.grid = dim3(BlocksFor(g.batch * DivideUp(g.out_depth, lanes), groups));
  shape.shared_bytes =
      groups * segments * lanes * sizeof(typename AccumulatorOf<T>::type);
  return Launch(shape, stream, SelectSampled<T, kVector>, g.batch,
                g.positions(), g.out_depth, plan.out_backprop_layout,
                static_cast<int>(lanes),
                static_cast<int>(plan.selection_workers), selection.k,
                SamplingStream(selection.stream), out_backprop, kept);
}

}  // namespace

template <typename T>
cudaError_t CudaSelect(const ConvGeometry& g, const Selection& selection,
                       const CudaPlan& plan, const T* out_backprop,
                       WeightedPosition<typename AccumulatorOf<T>::type>* kept,
                       cudaStream_t stream) {
  const int64_t k = selection.k;
  const bool planes = plan.out_backprop_layout == Layout::kNCHW;
  LaunchShape shape;
  shape.block = dim3(kCudaSelectionThreads);
  const int64_t channels = g.batch * g.out_depth;
  switch (plan.selection) {
    case CudaSelection::kPlanes:
    case CudaSelection::kRows:
      return k == 1
                 ? SelectLargest<T, 1>(g, 1, plan, out_backprop, kept, stream)
                 : SelectLargest<T, kCudaMostFew>(g, static_cast<int>(k), plan,
                                                  out_backprop, kept, stream);
    case CudaSelection::kSorted:
      if (planes) {
        shape.grid = dim3(BlocksFor(channels, kSelectionWarps));
        return Launch(shape, stream, SelectSortedPlanes<T>, channels,
                      g.positions(), static_cast<int>(k), out_backprop, kept);
      }
      shape.grid = dim3(static_cast<unsigned>(g.batch) *
                        BlocksFor(g.out_depth, kWarpLanes));
      return Launch(shape, stream, SelectSortedRows<T>, g.positions(),
                    g.out_depth, static_cast<int>(k), out_backprop, kept);
    case CudaSelection::kSampled:
      return plan.selection_vector == 1
                 ? SelectDrawn<T, 1>(g, selection, plan, out_backprop, kept,
                                     stream)
                 : SelectDrawn<T, sizeof(uint4) / sizeof(T)>(
                       g, selection, plan, out_backprop, kept, stream);
    case CudaSelection::kThreshold:
      break;
  }
  shape.grid = dim3(BlocksFor(channels, kSelectionWarps));
  return Launch(shape, stream, SelectThreshold<T>, g.batch, g.positions(),
                g.out_depth, planes ? int64_t{1} : g.out_depth, k, out_backprop,
                kept);
}

#define TF_APPROXGRAD_INSTANTIATE(T)                                    \
  template cudaError_t CudaSelect<T>(                                   \
      const ConvGeometry&, const Selection&, const CudaPlan&, const T*, \
      WeightedPosition<typename AccumulatorOf<T>::type>*, cudaStream_t)
TF_APPROXGRAD_INSTANTIATE(float);
TF_APPROXGRAD_INSTANTIATE(double);
TF_APPROXGRAD_INSTANTIATE(Bfloat16);
TF_APPROXGRAD_INSTANTIATE(Half);
#undef TF_APPROXGRAD_INSTANTIATE

}  // namespace tf_approxgrad
