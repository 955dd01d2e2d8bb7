// Normally distributed numbers from a counter-based generator.
//
// The numbers are a pure function of (seed, layer, step) and of the place in
// the array: no thread, instruction set or device changes a bit of them.
//
// Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3,
// 2011) turns a counter of 128 bits, under a key of 64, into four 32-bit words:
//   key      = seed, its low word first
//   counter  = block, layer, low word of step, high word of step
// so that no two of (layer, step, block) share a counter. Box and Muller's
// method turns the words w0..w3 of a block into four normal numbers: with
//   radius(w) = sqrt(-2 ln((floor(w / 2) + 0.5) / 2^31))
//   angle(w)  = 2 pi w / 2^32
// they are radius(w0) cos(angle(w1)), radius(w0) sin(angle(w1)), and the same
// of w2 and w3. ln, cos and sin are polynomials in float32, computed without
// fused multiply-adds, the same wherever they run.
//
// Element e of the array, in its group of kNormalGroup elements, is number
// (e / kNormalBlocks) % 4 of block (e / kNormalGroup) * kNormalBlocks +
// e % kNormalBlocks: neighbours are the same number of neighbouring blocks,
// which is how vectors come.

#ifndef TF_APPROXGRAD_CC_COMMON_NORMAL_NUMBERS_H_
#define TF_APPROXGRAD_CC_COMMON_NORMAL_NUMBERS_H_

#include <cstdint>

namespace tf_approxgrad {

constexpr int64_t kNormalBlocks = 64;
constexpr int64_t kNormalGroup = 4 * kNormalBlocks;

// Blocks are counted in 32 bits.
constexpr int64_t kMostNormals = int64_t{4} << 32;

inline int64_t NormalGroups(int64_t size) {
  return (size + kNormalGroup - 1) / kNormalGroup;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_COMMON_NORMAL_NUMBERS_H_
