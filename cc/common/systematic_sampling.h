// The sampled method's draws, the same on every processor and GPU to the bit.
//
// Of each example and output channel, with C the running sum of |dY| over the
// positions, S the last of C, and u one uniform number from [0, 1), position p
// is drawn floor(k * C[p] / S + u) - floor(k * C[p-1] / S + u) times, and each
// time adds sign(dY[p]) * S / k to its weight. Expected over u, the weight is
// dY[p]: the method is unbiased.
//
// In other words, draw j of k is the first position whose C reaches
// min((j + (1 - u)) * (S / k), S): so it is computed, and so there are always k
// draws, whatever is rounded, none of them of a zero. Where S is zero or not a
// number, position 0 is taken k times, with a weight of zero or NaN: zero times
// an infinity in X is NaN, but only where the dense gradient is NaN as well.
//
// Sums are rounded to the accumulator's type, in one order: positions are cut
// into segments of SegmentRows, the values of a segment are added one after the
// other, and the segments' sums as well; C[p] is the sum of the segments before
// p's plus the sum within it. That leaves less error than one sum over all
// positions, segments without a draw needn't be read a second time, and a GPU's
// threads can share the segments.
//
// u is made from Philox4x32-10 as the numbers of normal_numbers.h are, with the
// counter
//   n * Co + co, layer, low word of step, high word of step
// under a key of its own: the seed, its high word XORed with kSamplingKey.

#ifndef TF_APPROXGRAD_CC_COMMON_SYSTEMATIC_SAMPLING_H_
#define TF_APPROXGRAD_CC_COMMON_SYSTEMATIC_SAMPLING_H_

#include <cstdint>

#include "cc/common/host_device.h"
#include "cc/common/random_stream.h"

namespace tf_approxgrad {

// "DRAW"; without it, the random method's numbers would decide the draws.
constexpr uint32_t kSamplingKey = 0x44524157;

constexpr int64_t kMostSegments = 64;
constexpr int64_t kLeastSegmentRows = 16;

// A power of two, so that there are kMostSegments segments at most.
TF_APPROXGRAD_HOST_DEVICE inline int64_t SegmentRows(int64_t positions) {
  int64_t rows = kLeastSegmentRows;
  while (kMostSegments * rows < positions) rows *= 2;
  return rows;
}

inline RandomStream SamplingStream(RandomStream stream) {
  stream.seed ^= uint64_t{kSamplingKey} << 32;
  return stream;
}

// 1 - u, exact in the type, from a block's first two words.
template <typename Accumulator>
TF_APPROXGRAD_HOST_DEVICE Accumulator OneLessUniform(uint32_t w0, uint32_t w1);

template <>
TF_APPROXGRAD_HOST_DEVICE inline float OneLessUniform<float>(uint32_t w0,
                                                             uint32_t) {
  return static_cast<float>((1 << 24) - static_cast<int32_t>(w0 >> 8)) *
         0x1p-24f;
}

template <>
TF_APPROXGRAD_HOST_DEVICE inline double OneLessUniform<double>(uint32_t w0,
                                                               uint32_t w1) {
  const uint64_t bits = static_cast<uint64_t>(w0) << 21 | w1 >> 11;
  return static_cast<double>(static_cast<int64_t>((uint64_t{1} << 53) - bits)) *
         0x1p-53;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_COMMON_SYSTEMATIC_SAMPLING_H_
