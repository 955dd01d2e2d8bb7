// The generator of one instruction set. The including file sets the compiler's
// target, switches fused multiply-adds off and defines TF_APPROXGRAD_TARGET; it
// has included all other headers before.
//
// A group is made in passes over arrays of kNormalBlocks words, each a loop
// without branches that the compiler turns into vectors. The arrays stay in the
// L1 cache.

namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// In the order in which they use each other.
// clang-format off
#include "cc/common/philox-inl.h"
#include "cc/cpu/core/philox_group-inl.h"
#include "cc/common/normal_functions-inl.h"
// clang-format on

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

}  // namespace

template <typename T>
FillNormal<T> GetFillNormal() {
  return &FillGroups<T>;
}

template FillNormal<float> GetFillNormal<float>();
template FillNormal<double> GetFillNormal<double>();
template FillNormal<Bfloat16> GetFillNormal<Bfloat16>();
template FillNormal<Half> GetFillNormal<Half>();

}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
