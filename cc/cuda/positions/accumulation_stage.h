// What a stage of the accumulation holds in shared memory, and how it is
// filled. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_STAGE_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_STAGE_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

// Taps of a block, as bits, that lie inside the input for an output row
// (column), and the input pixels before its first tap. The pixels wrap around:
// added up for a tap that lies inside, they are right.
struct Reach {
  uint32_t taps;
  uint32_t pixels;
};

// In PreparedPosition's taps, above those of a thread: the weight isn't finite.
constexpr uint32_t kWeightNotFinite = 1u << 31;

// A kept position as the accumulation wants it: the taps that lie inside, and
// where its patch begins (see InputReader::Place).
template <typename Accumulator>
struct alignas(16) PreparedPosition {
  Accumulator weight;
  uint32_t taps;
  uint32_t place;
};

// What a block of the accumulation must know, in the kernel's 32 bits.
struct AccumulationTask {
  int batch, in_depth, out_depth, k;
  // Of an example's input.
  int pixels;
  int taps;
  Layout input_layout;
  // As in CudaPlan.
  bool tile_vectors, has_table;
  int lanes, in_channels, out_channels, stage_examples, stage_positions,
      pixel_pitch;
  int plane_threads, in_blocks, out_blocks, splits, split_examples, turned_taps;
  // Two to this power are the block's input channels.
  int in_channel_bits;
  // Places in shared memory: the second tile, the kept positions, the table.
  int second_tile, lists, table;
};

// `count` taps from `first` on, in the order of the filter.
struct TapRange {
  int first, count;
};

// The taps of `range` that lie inside for an output row, and the pixels before
// the row. No loop of these two is unrolled: the sums need the registers.
__device__ inline Reach RowReach(const ConvGeometry& g, TapRange range,
                                 int64_t row) {
  const int cols = static_cast<int>(g.filter_cols);
  int64_t at = row * g.stride_rows - g.pad_top;
  Reach reach = {0,
                 static_cast<uint32_t>(at) * static_cast<uint32_t>(g.in_cols)};
  at += range.first / cols * g.dilation_rows;
  int col = range.first % cols;
#pragma unroll 1
  for (int t = 0; t < range.count; ++t) {
    if (at >= 0 && at < g.in_rows) reach.taps |= 1u << t;
    if (++col == cols) {
      col = 0;
      at += g.dilation_rows;
    }
  }
  return reach;
}

__device__ inline Reach ColumnReach(const ConvGeometry& g, TapRange range,
                                    int64_t output_col) {
  const int cols = static_cast<int>(g.filter_cols);
  const int64_t first = output_col * g.stride_cols - g.pad_left;
  Reach reach = {0, static_cast<uint32_t>(first)};
  int col = range.first % cols;
#pragma unroll 1
  for (int t = 0; t < range.count; ++t) {
    const int64_t at = first + col * g.dilation_cols;
    if (at >= 0 && at < g.in_cols) reach.taps |= 1u << t;
    if (++col == cols) col = 0;
  }
  return reach;
}

// Fills the reach of every output row and then column. All threads of the
// block; a __syncthreads must follow.
__device__ inline void FillTable(const ConvGeometry& g, TapRange range,
                                 Reach* table) {
  const int rows = static_cast<int>(g.out_rows);
  const int size = rows + static_cast<int>(g.out_cols);
  for (int i = threadIdx.x; i < size; i += blockDim.x) {
    table[i] =
        i < rows ? RowReach(g, range, i) : ColumnReach(g, range, i - rows);
  }
}

// What a position reaches. `table` may be null: then it is computed.
__device__ inline Reach PositionReach(const ConvGeometry& g, TapRange range,
                                      const Reach* table, uint32_t position) {
  const uint32_t cols = static_cast<uint32_t>(g.out_cols);
  const uint32_t row = position / cols;
  const uint32_t col = position - row * cols;
  const Reach of_row = table == nullptr ? RowReach(g, range, row) : table[row];
  const Reach of_col = table == nullptr
                           ? ColumnReach(g, range, col)
                           : table[static_cast<uint32_t>(g.out_rows) + col];
  return {of_row.taps & of_col.taps, of_row.pixels + of_col.pixels};
}

// Copies the input's channels [channel, channel + in_channels) of `examples`
// examples from `example` on into `tile` [examples, pixels, pixel_pitch], which
// is filled with zeros where there is no such channel. All threads of the
// block; WaitForCopies and a __syncthreads must follow.
//
// NHWC: neighbouring threads copy neighbouring 16 bytes of a pixel's channels,
// a line of 128 bytes where the block has as many. NCHW: a warp reads 8 pixels
// of 4 channels, a sector each, and turns them; with a pitch of 36 words the 32
// elements fall into 32 banks. Where a plane has fewer pixels than 8, the warp
// reads as many more channels. Nothing waits for what is read, except for
// elements of 2 bytes that are copied one by one.
//
// A copy costs a handful of instructions, which count: an element of the tile
// is read about once. Hence no division, and sizes that are powers of two.
template <typename T>
__device__ void CopyTile(const AccumulationTask& task, const T* input,
                         int example, int examples, int channel, T* tile) {
  constexpr int kVector = sizeof(uint4) / sizeof(T);
  const int pixels = task.pixels;
  const int pitch = task.pixel_pitch;
  const int left = task.in_depth - channel;
  const T* from =
      input + static_cast<int64_t>(example) * pixels * task.in_depth;
  if (task.input_layout == Layout::kNCHW) {
    const int threads = task.plane_threads;
    const int first = threadIdx.x % threads;
    from += static_cast<int64_t>(channel) * pixels;
    for (int plane = threadIdx.x / threads;
         plane < examples << task.in_channel_bits;
         plane += blockDim.x / threads) {
      const int e = plane >> task.in_channel_bits;
      const int c = plane - (e << task.in_channel_bits);
      const T* plane_from =
          from + (static_cast<int64_t>(e) * task.in_depth + c) * pixels;
      T* plane_to = tile + e * pixels * pitch + c;
#pragma unroll 4
      for (int p = first; p < pixels; p += threads) {
        if (c < left) {
          CopyLater(plane_to + p * pitch, plane_from + p);
        } else {
          plane_to[p * pitch] = T{};
        }
      }
    }
    return;
  }
  from += channel;
  const int count = examples * pixels;
  if (task.tile_vectors) {
    const int c = threadIdx.x % task.lanes * kVector;
    const int first = threadIdx.x / task.lanes;
    const int step = task.out_channels;
    const T* pixel_from =
        from + static_cast<int64_t>(first) * task.in_depth + c;
    T* to = tile + first * pitch + c;
#pragma unroll 4
    for (int pixel = first; pixel < count; pixel += step) {
      if (c < left) {
        CopyLater<kVector>(to, pixel_from);
      } else {
        *reinterpret_cast<uint4*>(to) = uint4{};
      }
      pixel_from += static_cast<int64_t>(step) * task.in_depth;
      to += step * pitch;
    }
    return;
  }
#pragma unroll 4
  for (int i = threadIdx.x; i < count << task.in_channel_bits;
       i += blockDim.x) {
    const int pixel = i >> task.in_channel_bits;
    const int c = i - (pixel << task.in_channel_bits);
    T* to = tile + pixel * pitch + c;
    if (c < left) {
      CopyLater(to, from + static_cast<int64_t>(pixel) * task.in_depth + c);
    } else {
      *to = T{};
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_STAGE_H_
