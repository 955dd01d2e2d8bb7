// The largest values of a channel, as a thread of the selection collects them.
// Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_MAX_CANDIDATES_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_MAX_CANDIDATES_H_

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "cc/common/float_types.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/positions/weighted_position.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

// Sum, largest magnitude and where it is; the lowest position on ties. A NaN
// never is the largest, but it is in the sum.
template <typename Accumulator>
struct Largest {
  Accumulator sum;
  Accumulator magnitude;
  int32_t position;

  // Of no values.
  static __device__ Largest None() { return {0, -1, 0}; }

  __device__ void Take(Accumulator value, int32_t at) {
    sum += value;
    const Accumulator size = Magnitude(value);
    if (size > magnitude) {
      magnitude = size;
      position = at;
    }
  }

  __device__ void Merge(const Largest& other) {
    sum += other.sum;
    if (other.magnitude > magnitude ||
        (other.magnitude == magnitude && other.position < position)) {
      magnitude = other.magnitude;
      position = other.position;
    }
  }

  // Merges with the lane whose number differs by `offset`, a power of two: both
  // get the same bits.
  __device__ void MergeLanes(int offset) {
    Largest other;
    other.sum = __shfl_xor_sync(kAllLanes, sum, offset);
    other.magnitude = __shfl_xor_sync(kAllLanes, magnitude, offset);
    other.position = __shfl_xor_sync(kAllLanes, position, offset);
    Merge(other);
  }

  // Writes what the channel keeps: one position with the channel's sum.
  __device__ void Write(int, WeightedPosition<Accumulator>* kept) const {
    *kept = {sum, position};
  }
};

// The kCudaMostFew values of largest magnitude in descending order, the lowest
// position first on ties, and the sum of all. Where there are fewer, NaNs fill
// the rest, which no comparison finds larger than anything; values that are NaN
// are in the sum alone, as above. Magnitudes cost no register: the sign is
// taken off as part of a comparison.
template <typename Accumulator>
struct FewLargest {
  Accumulator sum;
  Accumulator value[kCudaMostFew];
  int32_t position[kCudaMostFew];

  static __device__ FewLargest None() {
    FewLargest none;
    none.sum = 0;
#pragma unroll
    for (int i = 0; i < kCudaMostFew; ++i) {
      none.value[i] = static_cast<Accumulator>(NAN);
      none.position[i] = 0;
    }
    return none;
  }

  // Positions must ascend from one call to the next.
  __device__ void Take(Accumulator newcomer, int32_t at) {
    sum += newcomer;
    constexpr int kLast = kCudaMostFew - 1;
    if (Magnitude(newcomer) <= Magnitude(value[kLast]) ||
        newcomer != newcomer) {
      return;
    }
    // Each place takes its upper neighbour, the newcomer or nothing, without a
    // branch: threads of a warp would take all its ways one after another.
    bool above[kCudaMostFew];
#pragma unroll
    for (int i = 0; i < kCudaMostFew; ++i) {
      above[i] = !(Magnitude(newcomer) <= Magnitude(value[i]));
    }
#pragma unroll
    for (int i = kLast; i > 0; --i) {
      value[i] = above[i - 1] ? value[i - 1] : above[i] ? newcomer : value[i];
      position[i] = above[i - 1] ? position[i - 1]
                    : above[i]   ? at
                                 : position[i];
    }
    value[0] = above[0] ? newcomer : value[0];
    position[0] = above[0] ? at : position[0];
  }

  __device__ void Merge(const FewLargest& other) {
    static_assert(kCudaMostFew == 4, "the comparisons below sort four");
    sum += other.sum;
    // One list downwards against the other upwards: the larger of each pair are
    // the largest of both, a bitonic list, which four comparisons sort.
#pragma unroll
    for (int i = 0; i < kCudaMostFew; ++i) {
      const int j = kCudaMostFew - 1 - i;
      if (Before(other.value[j], other.position[j], value[i], position[i])) {
        value[i] = other.value[j];
        position[i] = other.position[j];
      }
    }
    Sort(0, 2);
    Sort(1, 3);
    Sort(0, 1);
    Sort(2, 3);
  }

  __device__ void MergeLanes(int offset) {
    FewLargest other;
    other.sum = __shfl_xor_sync(kAllLanes, sum, offset);
#pragma unroll
    for (int i = 0; i < kCudaMostFew; ++i) {
      other.value[i] = __shfl_xor_sync(kAllLanes, value[i], offset);
      other.position[i] = __shfl_xor_sync(kAllLanes, position[i], offset);
    }
    Merge(other);
  }

  // Writes the first k with weights that preserve the channel's sum. A NaN that
  // fills a place is seen only where the channel has NaNs, whose sum is NaN.
  __device__ void Write(int k, WeightedPosition<Accumulator>* kept) const {
    Accumulator kept_sum = 0;
#pragma unroll
    for (int i = 0; i < kCudaMostFew; ++i) {
      if (i < k) kept_sum += value[i];
    }
    const Accumulator share = (sum - kept_sum) / static_cast<Accumulator>(k);
#pragma unroll
    for (int i = 0; i < kCudaMostFew; ++i) {
      if (i < k) kept[i] = {value[i] + share, position[i]};
    }
  }

 private:
  static __device__ bool Before(Accumulator a, int32_t position_of_a,
                                Accumulator b, int32_t position_of_b) {
    const Accumulator size = Magnitude(a);
    const Accumulator other = Magnitude(b);
    return (!(size <= other) && size == size) ||
           (size == other && position_of_a < position_of_b);
  }

  // The larger of two to place i, again without a branch.
  __device__ void Sort(int i, int j) {
    const Accumulator v = value[i];
    const int32_t p = position[i];
    const bool swap = Before(value[j], position[j], v, p);
    value[i] = swap ? value[j] : v;
    position[i] = swap ? position[j] : p;
    value[j] = swap ? v : value[j];
    position[j] = swap ? p : position[j];
  }
};

// What a channel that keeps up to kMost positions is collected in.
template <typename T, int kMost>
using LargestOf =
    std::conditional_t<kMost == 1, Largest<typename AccumulatorOf<T>::type>,
                       FewLargest<typename AccumulatorOf<T>::type>>;

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_MAX_CANDIDATES_H_
