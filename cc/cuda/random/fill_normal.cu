#include "cc/common/float_types.h"
#include "cc/common/integer_math.h"
#include "cc/common/normal_functions-inl.h"
#include "cc/common/philox-inl.h"
#include "cc/common/random_stream.h"
#include "cc/common/target.h"
#include "cc/cuda/random/fill_normal.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

using namespace TF_APPROXGRAD_TARGET;

constexpr int64_t kThreads = kNormalGroup;
constexpr int64_t kGroupsOfBlock = kThreads / kNormalBlocks;

// Partition: a thread makes one block of Philox, four numbers; the
// kNormalBlocks threads of a group make its elements, and each of their four
// stores is 64 neighbouring elements. Nothing is read.
//
// About 250 instructions make 4 numbers, 16 bytes in float32: an H100 issues
// enough of them for 2.5 TB/s, so that arithmetic and stores are near balance.
// The numbers are made without fused multiply-adds, as the processor's are:
// CMakeLists.txt compiles with -fmad=false, and the kernels that want one say
// so.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    FillNormals(RandomStream numbers, typename AccumulatorOf<T>::type stddev,
                int64_t size, T* __restrict__ output) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const int64_t block =
      static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  uint32_t words[4] = {static_cast<uint32_t>(block), numbers.layer,
                       static_cast<uint32_t>(numbers.step),
                       static_cast<uint32_t>(numbers.step >> 32)};
  uint32_t key0 = static_cast<uint32_t>(numbers.seed);
  uint32_t key1 = static_cast<uint32_t>(numbers.seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    PhiloxRound(key0, key1, &words[0], &words[1], &words[2], &words[3]);
    key0 += kIncrement0;
    key1 += kIncrement1;
  }
  const int64_t first =
      block / kNormalBlocks * kNormalGroup + block % kNormalBlocks;
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) {
    const float radius = Radius(words[2 * pair]);
    const Direction direction = DirectionOf(words[2 * pair + 1]);
    const float normals[2] = {radius * direction.cos, radius * direction.sin};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int64_t at = first + (2 * pair + i) * kNormalBlocks;
      if (at < size) {
        output[at] = Store<T>(stddev * static_cast<Accumulator>(normals[i]));
      }
    }
  }
}

}  // namespace

template <typename T>
cudaError_t CudaFillNormal(const RandomStream& numbers, double stddev,
                           int64_t size, T* output, cudaStream_t stream) {
  LaunchShape shape;
  shape.block = dim3(kThreads);
  shape.grid =
      dim3(static_cast<unsigned>(DivideUp(NormalGroups(size), kGroupsOfBlock)));
  return Launch(shape, stream, FillNormals<T>, numbers,
                static_cast<typename AccumulatorOf<T>::type>(stddev), size,
                output);
}

#define TF_APPROXGRAD_INSTANTIATE(T)                                           \
  template cudaError_t CudaFillNormal<T>(const RandomStream&, double, int64_t, \
                                         T*, cudaStream_t)
TF_APPROXGRAD_INSTANTIATE(float);
TF_APPROXGRAD_INSTANTIATE(double);
TF_APPROXGRAD_INSTANTIATE(Bfloat16);
TF_APPROXGRAD_INSTANTIATE(Half);
#undef TF_APPROXGRAD_INSTANTIATE

}  // namespace tf_approxgrad
