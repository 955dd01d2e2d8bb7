// The selection of sampled. systematic_sampling.h says what is drawn.
//
// Each lane has a channel of its own, in both layouts. One pass over dY leaves
// the running sums at the segments' ends; then, for each of the k draws, only
// the segments that hold some lane's draw are read again, from the cache. There
// a position is the number of rows whose sum is still below the draw's: no lane
// branches.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_SAMPLED_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_SAMPLED_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/random_stream.h"
#include "cc/common/systematic_sampling.h"
#include "cc/common/target.h"
#include "cc/cpu/core/philox_group-inl.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/selection_sampled_rows-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// `ends` gets the running sums at the segments' ends, kVectors vectors each.
template <int kVectors, typename Rows, typename Accumulator>
void SumSegments(int64_t positions, int64_t segment, Rows* rows,
                 Vector<Accumulator>* ends) {
  Vector<Accumulator> total[kVectors] = {};
  for (int64_t first = 0; first < positions; first += segment) {
    Vector<Accumulator> sum[kVectors] = {};
    ForEachRow(first, Smaller(first + segment, positions), rows,
               [&](int64_t row) {
#pragma GCC unroll 4
                 for (int v = 0; v < kVectors; ++v) {
                   sum[v] += Magnitudes<Accumulator>(rows->Read(row, v));
                 }
               });
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) *ends++ = total[v] += sum[v];
  }
}

// `magnitude` with the signs of `signs`.
template <typename Accumulator>
inline Vector<Accumulator> CopySign(Vector<Accumulator> magnitude,
                                    Vector<Accumulator> signs) {
  using Bits = Integers<Accumulator>;
  return BitCast<Vector<Accumulator>>(
      BitCast<Bits>(magnitude) |
      (BitCast<Bits>(signs) & ~VectorOf<Accumulator>::kMagnitudeBits));
}

// The first position of each lane at which the running sum reaches `draw`, of
// vector `vector`; `ends` are its sums at the segments' ends, kVectors apart.
template <int kVectors, typename Rows, typename Accumulator>
Integers<Accumulator> FirstToReach(Vector<Accumulator> draw, int64_t positions,
                                   int64_t segment, int vector, Rows* rows,
                                   const Vector<Accumulator>* ends) {
  Integers<Accumulator> position{};
  Vector<Accumulator> start{};
  for (int64_t first = 0; first < positions; first += segment) {
    const Vector<Accumulator> end = *ends;
    ends += kVectors;
    const Mask<Accumulator> beyond = Greater(draw, end);
    if (AnyLane(Greater(draw, start) & ~beyond)) {
      Vector<Accumulator> sum{};
      ForEachRow(
          first, Smaller(first + segment, positions), rows, [&](int64_t row) {
            sum += Magnitudes<Accumulator>(rows->Read(row, vector));
            position =
                Select(Greater(draw, start + sum), position + 1, position);
          });
    } else {
      position =
          Select(beyond, position + static_cast<int32_t>(segment), position);
    }
    if (!AnyLane(beyond)) break;
    start = end;
  }
  return position;
}

// Draws for kVectors vectors of channels, of which `width` lanes count.
// `one_less_u` are their uniform numbers.
template <int kVectors, typename Rows, typename Accumulator>
void KeepSampled(int64_t positions, int64_t co, int width, int64_t k,
                 const Accumulator* one_less_u, Rows rows,
                 const PatchWriter<Accumulator>& writer) {
  constexpr int kWidth = kLanes<Accumulator>;
  const int64_t segment = SegmentRows(positions);
  Vector<Accumulator> ends[kMostSegments * kVectors];
  SumSegments<kVectors, Rows, Accumulator>(positions, segment, &rows, ends);
  const Vector<Accumulator>* totals =
      ends + (positions - 1) / segment * kVectors;
  for (int v = 0; v < kVectors; ++v) {
    const Vector<Accumulator> total = totals[v];
    const Vector<Accumulator> weight =
        total / Broadcast(static_cast<Accumulator>(k));
    const Vector<Accumulator> offset = LoadVector(one_less_u + v * kWidth);
    WeightedPatch<Accumulator>* const patches =
        writer.OfChannel(co + v * kWidth);
    for (int64_t j = 0; j < k; ++j) {
      Vector<Accumulator> draw =
          (Broadcast(static_cast<Accumulator>(j)) + offset) * weight;
      draw = Select(Greater(draw, total), total, draw);
      const Integers<Accumulator> position =
          FirstToReach<kVectors, Rows, Accumulator>(draw, positions, segment, v,
                                                    &rows, ends + v);
      int32_t places[kWidth];
      Accumulator signs[kWidth] = {};
      for (int lane = 0; lane < kWidth; ++lane) {
        places[lane] = writer.PlaceOf(static_cast<int32_t>(position[lane]));
      }
      const int count = static_cast<int>(Smaller(kWidth, width - v * kWidth));
      for (int lane = 0; lane < count; ++lane) {
        signs[lane] = rows.ValueAt(position[lane], v * kWidth + lane);
      }
      Vector<Accumulator> weights =
          CopySign<Accumulator>(weight, LoadVector(signs));
      WeightedPatch<Accumulator>* patch = patches + j;
      for (int lane = 0; lane < count; ++lane) {
        *patch = {places[lane], weights[lane]};
        patch += writer.channel_stride();
      }
    }
  }
}

// The uniform numbers of a block of neighbouring channels, as 1 - u.
template <typename Accumulator>
struct BlockUniforms {
  // `first` is n * Co + co of the first channel.
  BlockUniforms(const RandomStream& stream, int64_t first) {
    Words4 words;
    PhiloxGroup(SamplingStream(stream), static_cast<uint32_t>(first), &words);
    for (int i = 0; i < kPhiloxBlocks; ++i) {
      one_less_u[i] = OneLessUniform<Accumulator>(words.w[0][i], words.w[1][i]);
    }
  }

  // With a vector behind them, for one may begin at the last.
  Accumulator one_less_u[kPhiloxBlocks + kLanes<Accumulator>] = {};
};

static_assert(kSelectionChannels == kPhiloxBlocks,
              "a block takes one group of numbers");

// NHWC: `width` channels from `co` on, which begin at `values`.
template <typename T, typename Accumulator>
void SampleBlock(const ConvGeometry& g, const T* values, int64_t co, int width,
                 int64_t k, const Accumulator* one_less_u,
                 const PatchWriter<Accumulator>& writer) {
  constexpr int kWidth = kLanes<Accumulator>;
  using Whole = RowsOfChannels<false, T>;
  for (int done = 0; done < width;) {
    const int left = width - done;
    const Whole rows(values + done, g.out_depth, left);
    if (left >= kBlockVectors * kWidth) {
      KeepSampled<kBlockVectors>(g.positions(), co + done,
                                 kBlockVectors * kWidth, k, one_less_u + done,
                                 rows, writer);
      done += kBlockVectors * kWidth;
    } else if (left >= 2 * kWidth) {
      KeepSampled<2>(g.positions(), co + done, 2 * kWidth, k, one_less_u + done,
                     rows, writer);
      done += 2 * kWidth;
    } else if (left >= kWidth) {
      KeepSampled<1>(g.positions(), co + done, kWidth, k, one_less_u + done,
                     rows, writer);
      done += kWidth;
    } else {
      KeepSampled<1>(g.positions(), co + done, left, k, one_less_u + done,
                     RowsOfChannels<true, T>(values + done, g.out_depth, left),
                     writer);
      done += left;
    }
  }
}

// NCHW: the planes of `width` channels from `co` on, which may be any.
template <typename T, typename Accumulator>
void SamplePlanes(const ConvGeometry& g, const T* values, int64_t co, int width,
                  int64_t k, const Accumulator* one_less_u,
                  const PatchWriter<Accumulator>& writer) {
  for (int done = 0; done < width;) {
    // All of one group; see PatchWriter.
    const int64_t of_group = kGroupStep - (co + done) % kGroupStep;
    const int planes = static_cast<int>(
        Smaller(Smaller(kLanes<Accumulator>, width - done), of_group));
    KeepSampled<1>(
        g.positions(), co + done, planes, k, one_less_u + done,
        RowsOfPlanes<T>(values + done * g.positions(), g.positions(), planes),
        writer);
    done += planes;
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_SAMPLED_INL_H_
