// The kernels of the accumulation. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_KERNELS_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_KERNELS_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/cuda/positions/accumulation_input.h"
#include "cc/cuda/positions/accumulation_stage.h"
#include "cc/cuda/positions/accumulation_sums.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/positions/weighted_position.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

// The accumulation: dF's sums of kTaps taps, plan.in_channels() input channels
// and plan.block_out_channels output channels, over a part of the batch.
//
// Partition: blockIdx.x names the channels and taps, blockIdx.y the part of the
// batch. A group of plan.lanes threads owns an output channel; a thread owns
// kVector input channels of it, at every tap, and keeps their sums in registers
// to the end. The block walks through its examples in stages. For each it
// copies the input's channels into shared memory (kTile), where all its output
// channels share them, and prepares the kept positions: 16 bytes that say where
// the patch begins and which taps lie inside. While a stage is worked on, the
// next one's tile is on its way and its kept positions are in registers; there
// are two of each buffer, and one __syncthreads a stage.
//
// Coalescing: kTile reads whole lines (see CopyTile). In shared memory the
// lanes of a group read 128 neighbouring bytes, all 32 banks once, so that the
// four groups of a warp, each at its own patch, never meet in a bank. kVectors
// reads the same lines from L2 or, where patches overlap, from L1. Taps outside
// the input are not read. Last, the sums are turned through shared memory, so
// that dF [KH, KW, Ci, Co] is written with output channels side by side.
//
// Shared memory and instructions decide, not arithmetic: each multiply-add
// needs a value of its own, since two output channels seldom keep the same
// position. A multiprocessor delivers 128 bytes a cycle, 32 floats, and could
// multiply 128. So the four patches of a warp cost 36 cycles and, if none is
// wasted, 70 instructions, of which 4 start in a cycle: a tap's address is one
// addition. A tap outside takes no shared memory, but the instructions of one
// inside. Half the bytes (bfloat16) are half the cycles for as many values, but
// each of them must be converted as well.
template <typename T, CudaInput kInput, int kVector, int kTaps>
__global__ void __launch_bounds__(kCudaMostThreads, 1) AccumulatePatches(
    ConvGeometry g, AccumulationTask task, double scale,
    const T* __restrict__ input,
    const WeightedPosition<typename AccumulatorOf<T>::type>* __restrict__ kept,
    typename AccumulatorOf<T>::type* __restrict__ parts,
    T* __restrict__ filter_backprop) {
  using Accumulator = typename AccumulatorOf<T>::type;
  using Prepared = PreparedPosition<Accumulator>;

  // What this block and this thread own.
  const int block = static_cast<int>(blockIdx.x);
  const int in_channel = block % task.in_blocks * task.in_channels;
  const int out_channel =
      block / task.in_blocks % task.out_blocks * task.out_channels;
  const int first_tap = block / task.in_blocks / task.out_blocks * kTaps;
  const TapRange taps = {first_tap,
                         static_cast<int>(Least(task.taps - first_tap, kTaps))};
  const int first_example = static_cast<int>(blockIdx.y) * task.split_examples;
  const int end_example = static_cast<int>(
      Least(task.batch, int64_t{first_example} + task.split_examples));
  const int lane = threadIdx.x % task.lanes;
  const int group = threadIdx.x / task.lanes;

  unsigned char* shared = DynamicShared<unsigned char>();
  Prepared* lists = reinterpret_cast<Prepared*>(shared + task.lists);
  const int list_size =
      task.stage_examples * task.stage_positions * task.out_channels;
  Reach* table = nullptr;
  if (task.has_table) {
    table = reinterpret_cast<Reach*>(shared + task.table);
    FillTable(g, taps, table);
    __syncthreads();
  }

  // A stage's list is [stage_examples, stage_positions, out_channels]. This
  // thread prepares kCudaPreparedPositions of it, all of one output channel.
  const int own_channel = threadIdx.x % task.out_channels;
  const int own_first = threadIdx.x / task.out_channels;
  WeightedPosition<Accumulator> pending[kCudaPreparedPositions];
  const auto fetch_positions = [&](int example, int first_position) {
#pragma unroll
    for (int m = 0; m < kCudaPreparedPositions; ++m) {
      const int own = own_first + m * task.lanes;
      const int n = example + own / task.stage_positions;
      const int j = first_position + own % task.stage_positions;
      pending[m] = {0, -1};
      if (own < task.stage_examples * task.stage_positions && n < end_example &&
          out_channel + own_channel < task.out_depth && j < task.k) {
        const int64_t channel = static_cast<int64_t>(n) * task.out_depth +
                                out_channel + own_channel;
        pending[m] = kept[channel * task.k + j];
      }
    }
  };
  const auto copy_tile = [&](int example, int tile) {
    if constexpr (kInput == CudaInput::kTile) {
      CopyTile(
          task, input, example,
          static_cast<int>(Least(end_example - example, task.stage_examples)),
          in_channel, reinterpret_cast<T*>(shared + tile));
    }
  };

  InputReader<T, kInput, kVector> reader(task, in_channel, lane);
  const auto prepare_positions = [&](Prepared* list) {
#pragma unroll
    for (int m = 0; m < kCudaPreparedPositions; ++m) {
      const int i = threadIdx.x + m * static_cast<int>(blockDim.x);
      if (i >= list_size) continue;
      // Nothing to add beyond the batch, the channels or k.
      Prepared prepared = {0, 0, 0};
      if (pending[m].position >= 0) {
        const Reach reach = PositionReach(
            g, taps, table, static_cast<uint32_t>(pending[m].position));
        const int e = (own_first + m * task.lanes) / task.stage_positions;
        prepared = {pending[m].weight, reach.taps,
                    reader.Place(e, reach.pixels)};
        if (!IsFinite(pending[m].weight)) prepared.taps |= kWeightNotFinite;
      }
      list[i] = prepared;
    }
  };

  uint32_t tap_offsets[kTaps];
#pragma unroll
  for (int t = 0; t < kTaps; ++t) {
    const int tap = first_tap + t;
    const int cols = static_cast<int>(g.filter_cols);
    tap_offsets[t] =
        reader.TapOffset(tap / cols * static_cast<uint32_t>(g.dilation_rows) *
                             static_cast<uint32_t>(g.in_cols) +
                         tap % cols * static_cast<uint32_t>(g.dilation_cols));
  }
  Accumulator sums[kTaps][kVector];
#pragma unroll
  for (int t = 0; t < kTaps; ++t) {
#pragma unroll
    for (int v = 0; v < kVector; ++v) sums[t][v] = 0;
  }

  // Stages: for each group of examples, the slices of their kept positions.
  int example = first_example;
  int first_position = 0;
  int tile = 0;  // Bytes from the first tile.
  int list = 0;
  if (example < end_example) {
    copy_tile(example, tile);
    fetch_positions(example, first_position);
    prepare_positions(lists);
  }
  while (example < end_example) {
    WaitForCopies();
    __syncthreads();
    int next_example = example;
    int next_position = first_position + task.stage_positions;
    if (next_position >= task.k) {
      next_position = 0;
      next_example += task.stage_examples;
    }
    const bool more = next_example < end_example;
    const int next_tile =
        next_example == example ? tile : task.second_tile - tile;
    if (more) {
      if (next_tile != tile) copy_tile(next_example, next_tile);
      fetch_positions(next_example, next_position);
    }
    reader.StartStage(kInput == CudaInput::kTile
                          ? reinterpret_cast<const T*>(shared + tile)
                          : input + static_cast<int64_t>(example) *
                                        task.pixels * task.in_depth);
    const int patches =
        task.stage_examples == 1
            ? static_cast<int>(
                  Least(task.stage_positions, task.k - first_position))
            : task.stage_positions *
                  static_cast<int>(
                      Least(task.stage_examples, end_example - example));
    AddPatches(reader, lists + list * list_size + group, task.out_channels,
               patches, tap_offsets, sums);
    list = 1 - list;
    if (more) prepare_positions(lists + list * list_size);
    example = next_example;
    first_position = next_position;
    tile = next_tile;
  }

  WriteSums(task, taps, in_channel, out_channel, own_channel, own_first, group,
            scale, reader, sums, reinterpret_cast<Accumulator*>(shared), parts,
            filter_backprop);
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_KERNELS_H_
