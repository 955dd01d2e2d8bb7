// Loops of fused multiply-adds and nothing else, for the peak of this machine.

#ifndef TF_APPROXGRAD_CC_BENCHMARKS_MULTIPLY_ADDS_H_
#define TF_APPROXGRAD_CC_BENCHMARKS_MULTIPLY_ADDS_H_

#include <cstdint>

#include "cc/cpu/core/instruction_set.h"

namespace tf_approxgrad {

// Independent sums, enough to hide the latency of a multiply-add.
constexpr int kMultiplyAddSums = 12;

// One loop for each width of vector; returns something of the sums, so that no
// compiler leaves the loop out. Each sum starts from another value: of equal
// ones the compiler computes a single one.
#define DEFINE_MULTIPLY_ADDS(NAME, BYTES, TARGET)                         \
  TARGET inline __attribute__((noinline)) float NAME(int64_t rounds) {    \
    typedef float Vector __attribute__((vector_size(BYTES)));             \
    Vector sums[kMultiplyAddSums];                                        \
    const float seed = static_cast<float>(rounds % 7) * 1e-3f;            \
    for (int i = 0; i < kMultiplyAddSums; ++i) {                          \
      sums[i] = (seed + static_cast<float>(i)) - Vector{};                \
    }                                                                     \
    const Vector factor = (0.5f + seed) - Vector{};                       \
    for (int64_t round = 0; round < rounds; ++round) {                    \
      _Pragma("GCC unroll 12") for (int i = 0; i < kMultiplyAddSums; ++i) \
          sums[i] = sums[i] * factor + factor;                            \
    }                                                                     \
    float total = 0;                                                      \
    for (int i = 0; i < kMultiplyAddSums; ++i) total += sums[i][0];       \
    return total;                                                         \
  }

#if defined(__x86_64__)
DEFINE_MULTIPLY_ADDS(MultiplyAddsAvx512, 64,
                     __attribute__((target("avx512f,fma"))))
DEFINE_MULTIPLY_ADDS(MultiplyAddsAvx2, 32, __attribute__((target("avx2,fma"))))
#endif
DEFINE_MULTIPLY_ADDS(MultiplyAddsBaseline, 16, )

struct MultiplyAddLoop {
  float (*run)(int64_t rounds);
  int lanes;

  double multiply_adds(int64_t rounds) const {
    return static_cast<double>(rounds) * kMultiplyAddSums * lanes;
  }
};

inline MultiplyAddLoop MultiplyAddLoopFor(InstructionSet instruction_set) {
  switch (instruction_set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx512:
      return {&MultiplyAddsAvx512, 16};
    case InstructionSet::kAvx2:
      return {&MultiplyAddsAvx2, 8};
#endif
    default:
      return {&MultiplyAddsBaseline, 4};
  }
}

#undef DEFINE_MULTIPLY_ADDS

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_BENCHMARKS_MULTIPLY_ADDS_H_
