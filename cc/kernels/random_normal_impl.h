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

#include "cc/kernels/normal_functions_impl.h"

struct Words4 {
  uint32_t w[4][kNormalBlocks];
};

inline void PhiloxRoundOfGroup(uint32_t key0, uint32_t key1, Words4* words) {
  for (int i = 0; i < kNormalBlocks; ++i) {
    PhiloxRound(key0, key1, &words->w[0][i], &words->w[1][i], &words->w[2][i],
                &words->w[3][i]);
  }
}

// All ten rounds of a block in one go, with its words in registers, were
// slower: 1.29 instead of 1.05 ns a number with AVX-512.
inline void PhiloxGroup(const NormalStream& stream, uint32_t first_block,
                        Words4* words) {
  for (int i = 0; i < kNormalBlocks; ++i) {
    words->w[0][i] = first_block + static_cast<uint32_t>(i);
    words->w[1][i] = stream.layer;
    words->w[2][i] = static_cast<uint32_t>(stream.step);
    words->w[3][i] = static_cast<uint32_t>(stream.step >> 32);
  }
  uint32_t key0 = static_cast<uint32_t>(stream.seed);
  uint32_t key1 = static_cast<uint32_t>(stream.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    PhiloxRoundOfGroup(key0, key1, words);
    key0 += kIncrement0;
    key1 += kIncrement1;
  }
}

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
void FillGroups(const NormalStream& stream, double stddev, int64_t begin,
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
