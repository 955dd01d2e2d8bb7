#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/integer_math.h"
#include "cc/cuda/positions/accumulation.h"
#include "cc/cuda/positions/accumulation_kernels.h"
#include "cc/cuda/positions/accumulation_parts_kernels.h"
#include "cc/cuda/runtime/alignment.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

AccumulationTask TaskOf(const ConvGeometry& g, int64_t k,
                        const CudaPlan& plan) {
  AccumulationTask task;
  task.batch = static_cast<int>(g.batch);
  task.in_depth = static_cast<int>(g.in_depth);
  task.out_depth = static_cast<int>(g.out_depth);
  task.k = static_cast<int>(k);
  task.pixels = static_cast<int>(g.in_rows * g.in_cols);
  task.taps = static_cast<int>(g.taps());
  task.input_layout = plan.input_layout;
  task.tile_vectors = plan.tile_vectors;
  task.has_table = plan.has_tables();
  task.lanes = static_cast<int>(plan.lanes);
  task.in_channels = static_cast<int>(plan.in_channels());
  task.out_channels = static_cast<int>(plan.block_out_channels);
  task.stage_examples = static_cast<int>(plan.stage_examples);
  task.stage_positions = static_cast<int>(plan.stage_positions);
  task.pixel_pitch = static_cast<int>(plan.pixel_pitch);
  task.in_blocks = static_cast<int>(plan.in_blocks(g));
  task.out_blocks = static_cast<int>(plan.out_blocks(g));
  task.in_channel_bits = 0;
  while (1 << task.in_channel_bits < task.in_channels) ++task.in_channel_bits;
  task.plane_threads = static_cast<int>(plan.plane_threads);
  task.turned_taps = static_cast<int>(plan.turned_taps);
  task.splits = static_cast<int>(plan.splits);
  task.split_examples = static_cast<int>(plan.split_examples(g));
  task.second_tile = static_cast<int>(plan.tile_bytes / 2);
  task.lists = static_cast<int>(plan.tile_bytes);
  task.table = static_cast<int>(plan.tile_bytes + plan.positions_bytes);
  return task;
}

template <typename T, CudaInput kInput, int kVector>
cudaError_t AccumulateFrom(
    const ConvGeometry& g, int64_t k, const CudaPlan& plan, double scale,
    const T* input,
    const WeightedPosition<typename AccumulatorOf<T>::type>* kept,
    typename AccumulatorOf<T>::type* parts, T* filter_backprop,
    cudaStream_t stream) {
  LaunchShape shape;
  shape.grid =
      dim3(static_cast<unsigned>(plan.in_blocks(g) * plan.out_blocks(g) *
                                 plan.tap_blocks(g)),
           static_cast<unsigned>(plan.splits));
  shape.block = dim3(static_cast<unsigned>(plan.threads));
  shape.shared_bytes = plan.shared_bytes;
  const auto kernel = plan.taps == 1
                          ? AccumulatePatches<T, kInput, kVector, 1>
                          : AccumulatePatches<T, kInput, kVector, kCudaTaps>;
  return Launch(shape, stream, kernel, g, TaskOf(g, k, plan), scale, input,
                kept, parts, filter_backprop);
}

constexpr int64_t kFewParts = 8;
constexpr int kPartWorkers = 8;

template <typename T, int kVector, int kWorkers>
cudaError_t LaunchAddParts(int64_t size, const CudaPlan& plan, double scale,
                           const typename AccumulatorOf<T>::type* parts,
                           T* filter_backprop, cudaStream_t stream) {
  constexpr int64_t kOfBlock = kCudaSelectionThreads / kWorkers * kVector;
  LaunchShape shape;
  shape.block = dim3(kCudaSelectionThreads);
  shape.grid = dim3(static_cast<unsigned>(DivideUp(size, kOfBlock)));
  return Launch(shape, stream, AddParts<T, kVector, kWorkers>, size,
                static_cast<int>(plan.splits), scale, parts, filter_backprop);
}

}  // namespace

template <typename T>
cudaError_t CudaAccumulate(
    const ConvGeometry& g, int64_t k, const CudaPlan& plan, double scale,
    const T* input,
    const WeightedPosition<typename AccumulatorOf<T>::type>* kept,
    typename AccumulatorOf<T>::type* parts, T* filter_backprop,
    cudaStream_t stream) {
  constexpr int kVector = sizeof(uint4) / sizeof(T);
  constexpr int kFew = kVector < 4 ? kVector : 4;
  cudaError_t status = cudaSuccess;
  switch (plan.input) {
    case CudaInput::kTile:
      status = AccumulateFrom<T, CudaInput::kTile, kVector>(
          g, k, plan, scale, input, kept, parts, filter_backprop, stream);
      break;
    case CudaInput::kVectors:
      status = AccumulateFrom<T, CudaInput::kVectors, kVector>(
          g, k, plan, scale, input, kept, parts, filter_backprop, stream);
      break;
    case CudaInput::kElements:
      status = AccumulateFrom<T, CudaInput::kElements, kFew>(
          g, k, plan, scale, input, kept, parts, filter_backprop, stream);
      break;
  }
  if (status != cudaSuccess || plan.splits == 1) return status;
  const int64_t size = g.filter_size() * g.out_depth;
  // Few parts are added by one thread, many by a row of them.
  const bool vectors = plan.splits <= kFewParts && size % kVector == 0 &&
                       AreAligned({filter_backprop});
  return vectors ? LaunchAddParts<T, kVector, 1>(size, plan, scale, parts,
                                                 filter_backprop, stream)
                 : LaunchAddParts<T, 1, kPartWorkers>(size, plan, scale, parts,
                                                      filter_backprop, stream);
}

#define TF_APPROXGRAD_INSTANTIATE(T)                                   \
  template cudaError_t CudaAccumulate<T>(                              \
      const ConvGeometry&, int64_t, const CudaPlan&, double, const T*, \
      const WeightedPosition<typename AccumulatorOf<T>::type>*,        \
      typename AccumulatorOf<T>::type*, T*, cudaStream_t)
TF_APPROXGRAD_INSTANTIATE(float);
TF_APPROXGRAD_INSTANTIATE(double);
TF_APPROXGRAD_INSTANTIATE(Bfloat16);
TF_APPROXGRAD_INSTANTIATE(Half);
#undef TF_APPROXGRAD_INSTANTIATE

}  // namespace tf_approxgrad
