// The filter rearranged for the input gradient.
//
// The filter lies as [KH, KW, Ci, Co], and an output channel's slice is needed
// with its input channels next to each other. Squares are transposed in
// registers, so that both sides are read and written by vectors.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_FILTER_PACK_INL_H_
#define TF_APPROXGRAD_CC_CPU_CORE_FILTER_PACK_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/packed_filter.h"
#include "cc/cpu/core/vectors-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Packs the chunk `chunk` of input channels for the output channels
// [first, last) and all taps. Channels beyond Ci become zeros.
template <typename T>
void PackFilter(const ConvGeometry& g, const PackedFilter& packed,
                const T* filter, int64_t chunk, int64_t first, int64_t last,
                typename AccumulatorOf<T>::type* out) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kWidth = kLanes<Accumulator>;
  const int64_t first_in = chunk * packed.width;
  const int64_t left = g.in_depth - first_in;
  const int64_t channels = left < packed.width ? left : packed.width;
  out += chunk * packed.chunk_stride;
  for (int64_t tap = 0; tap < g.taps(); ++tap) {
    const T* from = filter + (tap * g.in_depth + first_in) * g.out_depth;
    Accumulator* to = out + tap * packed.tap_stride;
    for (int64_t c = 0; c < packed.width;) {
      int64_t co = first;
      const bool is_whole = c + kWidth <= channels;
      for (; is_whole && co + kWidth <= last; co += kWidth) {
        Vector<Accumulator> square[kWidth];
#pragma GCC unroll 16
        for (int row = 0; row < kWidth; ++row) {
          square[row] = LoadVector(from + (c + row) * g.out_depth + co);
        }
        Transpose<Accumulator>(square);
#pragma GCC unroll 16
        for (int row = 0; row < kWidth; ++row) {
          StoreVector(square[row], to + (co + row) * packed.channel_stride + c);
        }
      }
      const int64_t end = is_whole ? c + kWidth : packed.width;
      for (; c < end; ++c) {
        for (int64_t rest = co; rest < last; ++rest) {
          to[rest * packed.channel_stride + c] =
              c < channels ? Load(from[c * g.out_depth + rest])
                           : Accumulator{0};
        }
      }
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_CORE_FILTER_PACK_INL_H_
