// The kernel of the random method.
//
// A group is made in passes over arrays of kNormalBlocks words, each a loop
// without branches that the compiler turns into vectors. The arrays stay in the
// L1 cache.

#ifndef TF_APPROXGRAD_CC_CPU_RANDOM_KERNELS_INL_H_
#define TF_APPROXGRAD_CC_CPU_RANDOM_KERNELS_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/normal_functions-inl.h"
#include "cc/common/normal_numbers.h"
#include "cc/common/random_stream.h"
#include "cc/common/target.h"
#include "cc/cpu/core/philox_group-inl.h"
#include "cc/cpu/random/kernels.h"

TF_APPROXGRAD_BEGIN_TARGET_WITHOUT_FMA();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

static_assert(kNormalBlocks == kPhiloxBlocks, "a group is one of Philox");

inline void NormalGroup(const Words4& words, float* normals) {
  for (int pair = 0; pair < 2; ++pair) {
    const uint32_t* radius_words = words.w[2 * pair];
    const uint32_t* angle_words = words.w[2 * pair + 1];
    float* cosines = normals + 2 * pair * kNormalBlocks;
    float* sines = cosines + kNormalBlocks;
    for (int i = 0; i < kNormalBlocks; ++i) {
      const float radius = Radius(radius_words[i]);
      const Direction direction = DirectionOf(angle_words[i]);
      cosines[i] = radius * direction.cos;
      sines[i] = radius * direction.sin;
    }
  }
}

template <typename T>
void FillGroups(const RandomStream& stream, double stddev, int64_t begin,
                int64_t end, int64_t size, T* output) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const Accumulator factor = static_cast<Accumulator>(stddev);
  for (int64_t group = begin; group < end; ++group) {
    Words4 words;
    float normals[kNormalGroup];
    PhiloxGroup(stream, static_cast<uint32_t>(group * kNormalBlocks), &words);
    NormalGroup(words, normals);
    const int64_t first = group * kNormalGroup;
    const int64_t count =
        size - first < kNormalGroup ? size - first : kNormalGroup;
    for (int64_t i = 0; i < count; ++i) {
      output[first + i] =
          Store<T>(factor * static_cast<Accumulator>(normals[i]));
    }
  }
}

template <typename T>
void Collect(RandomKernels<T>* kernels) {
  *kernels = {&FillGroups<T>};
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_RANDOM_KERNELS_INL_H_
