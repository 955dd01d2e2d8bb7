#include <algorithm>

#include "cc/common/integer_math.h"
#include "cc/cuda/rows/draw_kernels.h"
#include "cc/cuda/rows/gather_kernels.h"
#include "cc/cuda/rows/sampling.h"
#include "cc/cuda/rows/size_kernels.h"
#include "cc/cuda/runtime/alignment.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

constexpr size_t kScratchAlignment = 256;
// Accesses of a thread that gathers, about.
constexpr int64_t kGatheredOfThread = 8;
// Blocks that fill a large GPU.
constexpr int64_t kEnoughBlocks = 512;

LaunchShape ShapeOf(int64_t blocks, int threads) {
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(blocks));
  shape.block = dim3(threads);
  return shape;
}

GatherShape GatherShapeOf(const ConvGeometry& g, int64_t draws, int vector) {
  int64_t threads, lanes;
  if (g.layout == Layout::kNCHW) {
    // A thread for each channel and all of its taps, or, of fewer channels than
    // a warp has lanes, for some of them.
    threads = PowerOfTwo(g.in_depth, kGatherThreads, kWarpLanes);
    lanes = PowerOfTwo(g.in_depth, kGatherThreads);
  } else {
    const int64_t accesses = (g.filter_size() + g.out_depth) / vector;
    threads =
        PowerOfTwo(accesses / kGatheredOfThread, kGatherThreads, kWarpLanes);
    lanes = PowerOfTwo(g.in_depth / vector, kWarpLanes);
  }
  GatherShape shape;
  shape.threads = static_cast<int>(threads);
  shape.lanes = static_cast<int>(lanes);
  shape.side_by_side = kGatherThreads / shape.threads;
  const int64_t in_turns =
      std::clamp<int64_t>(draws / (kEnoughBlocks * shape.side_by_side), 1,
                          kMostPlaces / shape.side_by_side);
  shape.places = static_cast<int>(in_turns) * shape.side_by_side;
  return shape;
}

template <typename T, int kVector>
cudaError_t LaunchGather(const ConvGeometry& g, int64_t draws,
                         const RowDraw* draw, const double* size,
                         const int64_t* drawn, const T* input,
                         const T* out_backprop,
                         typename AccumulatorOf<T>::type* patches,
                         typename AccumulatorOf<T>::type* rows,
                         cudaStream_t stream) {
  const GatherShape shape = GatherShapeOf(g, draws, kVector);
  const int64_t blocks = DivideUp(draws, shape.places);
  return Launch(ShapeOf(blocks, kGatherThreads), stream, GatherRows<T, kVector>,
                g, shape, draws, draw, size, drawn, input, out_backprop,
                patches, rows);
}

}  // namespace

std::string CudaRowSamplingProblem(const ConvGeometry& g, int64_t draws) {
  const int64_t rows = g.batch * g.positions();
  const int64_t pixels = g.batch * g.in_rows * g.in_cols;
  const int64_t most = int64_t{INT32_MAX} * kRowPart;
  if (rows > most || pixels > most) {
    return "input has " + std::to_string(pixels) + " pixels and out_backprop " +
           std::to_string(rows) + " rows, but a GPU takes at most " +
           std::to_string(most);
  }
  if (draws > INT32_MAX) {
    return "draws is " + std::to_string(draws) +
           ", but it must be less than 2^31 on a GPU";
  }
  return "";
}

template <typename T>
CudaRowSampling<T>::CudaRowSampling(const ConvGeometry& geometry,
                                    const RowSampling& sampling)
    : geometry_(geometry), sampling_(sampling) {}

template <typename T>
typename CudaRowSampling<T>::Scratch CudaRowSampling<T>::LayOut(
    void* scratch) const {
  Scratch own;
  const auto begin = reinterpret_cast<uintptr_t>(scratch);
  size_t offset = 0;
  const auto place = [&](auto** part, int64_t count) {
    *part = reinterpret_cast<std::decay_t<decltype(*part)>>(begin + offset);
    const size_t bytes = count * sizeof(**part);
    offset += RoundUp(bytes, kScratchAlignment);
  };
  const bool lowers = sampling_.keep_largest;
  place(&own.draw, 1);
  place(&own.size, rows());
  place(&own.part_sums, RowParts(rows()));
  place(&own.group_sums, RowGroups(rows()) + 1);
  place(&own.drawn, sampling_.draws);
  place(&own.pixel_sums, sampling_.by_product ? pixels() : 0);
  place(&own.limits, lowers ? kLimitPasses : 0);
  place(&own.limit_sums, lowers ? 2 * RowGroups(rows()) : 0);
  place(&own.drawable, lowers ? RowBlocks(rows()) : 0);
  own.bytes = offset;
  return own;
}

template <typename T>
cudaError_t CudaRowSampling<T>::KeepLargest(const Scratch& own,
                                            cudaStream_t stream) const {
  const int64_t groups = RowGroups(rows());
  LimitPass before{nullptr, nullptr};
  for (int i = 0; i < kLimitPasses; ++i) {
    const LimitPass pass{own.limits + i, own.limit_sums + i % 2 * groups};
    const cudaError_t status =
        Launch(ShapeOf(groups, kDrawThreads), stream, SumBelowLimit, own.size,
               rows(), sampling_.draws, before, pass);
    if (status != cudaSuccess) return status;
    before = pass;
  }
  return Launch(ShapeOf(RowBlocks(rows()), kDrawThreads), stream, LowerRows,
                rows(), sampling_.draws, before, own.size, own.part_sums,
                own.drawable);
}

template <typename T>
cudaError_t CudaRowSampling<T>::Draw(double uniform, const T* input,
                                     const T* out_backprop, void* scratch,
                                     cudaStream_t stream) const {
  const Scratch own = LayOut(scratch);
  cudaError_t status = cudaSuccess;
  if (sampling_.by_product) {
    status = Launch(ShapeOf(RowParts(pixels()), kMeasureThreads), stream,
                    SquarePixels<T>, geometry_, input, own.pixel_sums);
    if (status != cudaSuccess) return status;
    const int64_t blocks = DivideUp(rows(), kPatchThreads);
    status = Launch(ShapeOf(blocks, kPatchThreads), stream, SumPatches,
                    geometry_, own.pixel_sums, own.size);
    if (status != cudaSuccess) return status;
  }
  status = Launch(ShapeOf(RowParts(rows()), kMeasureThreads), stream,
                  MeasureRows<T>, geometry_, sampling_.by_product, out_backprop,
                  own.size, own.part_sums);
  if (status != cudaSuccess) return status;
  if (sampling_.keep_largest) {
    status = KeepLargest(own, stream);
    if (status != cudaSuccess) return status;
  }
  RowDraw asked;
  asked.draws = sampling_.draws;
  asked.uniform = uniform;
  const int64_t* drawable = sampling_.keep_largest ? own.drawable : nullptr;
  status = Launch(ShapeOf(1, kDrawThreads), stream, AddUpRowParts, rows(),
                  asked, drawable, own.part_sums, own.group_sums, own.draw);
  if (status != cudaSuccess) return status;
  return Launch(ShapeOf(RowBlocks(rows()), kDrawThreads), stream, DrawRowPlaces,
                rows(), own.draw, own.size, own.part_sums, own.group_sums,
                own.drawn);
}

template <typename T>
cudaError_t CudaRowSampling<T>::Gather(const T* input, const T* out_backprop,
                                       void* scratch, Accumulator* patches,
                                       Accumulator* rows,
                                       cudaStream_t stream) const {
  constexpr int kVector = kVectorAlignment / sizeof(T);
  const ConvGeometry& g = geometry_;
  const Scratch own = LayOut(scratch);
  const bool vectors = g.layout == Layout::kNHWC && g.in_depth % kVector == 0 &&
                       g.out_depth % kVector == 0 &&
                       AreAligned({input, out_backprop, patches, rows});
  return (vectors ? LaunchGather<T, kVector>
                  : LaunchGather<T, 1>)(g, sampling_.draws, own.draw, own.size,
                                        own.drawn, input, out_backprop, patches,
                                        rows, stream);
}

template <typename T>
cudaError_t CudaRowSampling<T>::Compute(double uniform, const T* input,
                                        const T* out_backprop, void* scratch,
                                        Accumulator* patches, Accumulator* rows,
                                        cudaStream_t stream) const {
  const cudaError_t status =
      Draw(uniform, input, out_backprop, scratch, stream);
  if (status != cudaSuccess) return status;
  return Gather(input, out_backprop, scratch, patches, rows, stream);
}

template class CudaRowSampling<float>;
template class CudaRowSampling<double>;
template class CudaRowSampling<Bfloat16>;
template class CudaRowSampling<Half>;

}  // namespace tf_approxgrad
