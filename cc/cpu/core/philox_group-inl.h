// Philox4x32-10 of many blocks, in passes over arrays of kPhiloxBlocks words,
// each a loop without branches that the compiler turns into vectors. The arrays
// stay in the L1 cache.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_PHILOX_GROUP_INL_H_
#define TF_APPROXGRAD_CC_CPU_CORE_PHILOX_GROUP_INL_H_

#include <cstdint>

#include "cc/common/philox-inl.h"
#include "cc/common/random_stream.h"
#include "cc/common/target.h"

TF_APPROXGRAD_BEGIN_TARGET_WITHOUT_FMA();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

constexpr int kPhiloxBlocks = 64;

struct Words4 {
  uint32_t w[4][kPhiloxBlocks];
};

inline void PhiloxRoundOfGroup(uint32_t key0, uint32_t key1, Words4* words) {
  for (int i = 0; i < kPhiloxBlocks; ++i) {
    PhiloxRound(key0, key1, &words->w[0][i], &words->w[1][i], &words->w[2][i],
                &words->w[3][i]);
  }
}

// All ten rounds of a block in one go, with its words in registers, were
// slower: 1.29 instead of 1.05 ns a number with AVX-512.
inline void PhiloxGroup(const RandomStream& stream, uint32_t first_block,
                        Words4* words) {
  for (int i = 0; i < kPhiloxBlocks; ++i) {
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

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_CORE_PHILOX_GROUP_INL_H_
