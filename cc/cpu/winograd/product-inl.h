// The products of transformed tiles, plane by plane.
//
// A tile of some channels by the vectors of a panel stays in registers while
// all rows of the panels pass by: a load for each vector and a broadcast for
// each channel. It starts at zero and is added to the sums in memory
// afterwards, so that an element is summed block by block and rounds less.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_PRODUCT_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_PRODUCT_INL_H_

#include <cstdint>

#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/winograd/plan.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

constexpr int64_t kPanelWidth = 2 * kLanes<float>;

// Products of one turn of the loop, which takes so few turns that a processor
// foresees its end.
constexpr int kProductsOfTurn = 4;

// Sums in registers: kRows by the first kVectors vectors of a panel.
template <int kRows, int kVectors>
struct ProductTile {
  Vector<float> sums[kRows][kVectors] = {};

  // Adds the products of `count` columns of `a` and rows of `b`, a panel. Rows
  // of `a` lie kRowStride apart, its columns kStep.
  template <int kRowStride, int kStep>
  inline __attribute__((always_inline)) void Add(const float* a, const float* b,
                                                 int64_t count) {
    const auto add = [&](int64_t step) __attribute__((always_inline)) {
      Vector<float> row[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        row[v] = LoadVector(b + step * kPanelWidth + v * kLanes<float>);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vector<float> value = Broadcast(a[r * kRowStride + step * kStep]);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sums[r][v] += value * row[v];
      }
    };
    for (; count >= kProductsOfTurn; count -= kProductsOfTurn) {
#pragma GCC unroll 4
      for (int step = 0; step < kProductsOfTurn; ++step) add(step);
      a = InRegister(a + kProductsOfTurn * kStep);
      b = InRegister(b + kProductsOfTurn * kPanelWidth);
    }
    for (; count > 0; --count) {
      add(0);
      a = InRegister(a + kStep);
      b = InRegister(b + kPanelWidth);
    }
  }

  inline __attribute__((always_inline)) void AddFrom(const float* panel) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] += LoadVector(panel + r * kPanelWidth + v * kLanes<float>);
      }
    }
  }

  inline __attribute__((always_inline)) void StoreTo(float* panel) const {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        StoreVector(sums[r][v], panel + r * kPanelWidth + v * kLanes<float>);
      }
    }
  }
};

// One panel of X and one of dY.
struct PanelPair {
  // [rows, kInBlock]
  const float* in;
  // [rows, kPanelWidth]
  const float* out;
  int64_t rows;
  // Whether nothing has been added to the sums yet.
  bool is_first;
};

// [kInBlock, kPanelWidth] sums, of which a tile has the channels
// [kFirst, kFirst + kChannels) and the first kVectors vectors.
template <int kFirst, int kChannels, int kVectors>
inline __attribute__((always_inline)) void MultiplyChannels(
    const PanelPair& pair, float* sums) {
  sums += kFirst * kPanelWidth;
#pragma GCC unroll 16
  for (int c = 0; c < kChannels; ++c) {
    __builtin_prefetch(sums + c * kPanelWidth, 1, 3);
    if constexpr (kPanelWidth * sizeof(float) > 64 && kVectors == 2) {
      __builtin_prefetch(sums + c * kPanelWidth + kLanes<float>, 1, 3);
    }
  }
  ProductTile<kChannels, kVectors> tile;
  tile.template Add<1, kInBlock>(pair.in + kFirst, pair.out, pair.rows);
  if (!pair.is_first) tile.AddFrom(sums);
  tile.StoreTo(sums);
}

// The first `channels` of a block, and perhaps more. 16 is 6 + 5 + 5 where 16
// registers hold a tile's sums and operands, 8 + 8 where there are 32; with a
// single vector a tile needs more channels to hide how long an addition takes.
template <int kVectors>
__attribute__((noinline)) void MultiplyPanels(const PanelPair& pair,
                                              [[maybe_unused]] int64_t channels,
                                              float* sums) {
#if TF_APPROXGRAD_VECTOR_BYTES == 64
  if constexpr (kVectors == 1) {
    MultiplyChannels<0, 16, 1>(pair, sums);
    return;
  } else {
    MultiplyChannels<0, 8, 2>(pair, sums);
    if (channels > 8) MultiplyChannels<8, 8, 2>(pair, sums);
  }
#else
  if constexpr (kVectors == 1) {
    MultiplyChannels<0, 8, 1>(pair, sums);
    if (channels > 8) MultiplyChannels<8, 8, 1>(pair, sums);
  } else {
    MultiplyChannels<0, 6, 2>(pair, sums);
    if (channels > 6) MultiplyChannels<6, 5, 2>(pair, sums);
    if (channels > 11) MultiplyChannels<11, 5, 2>(pair, sums);
  }
#endif
}

// Channels of one plane that are multiplied.
struct PlaneChannels {
  int64_t in_depth;
  int64_t out_depth;
  int64_t first_in_block;
  int64_t in_blocks;
  int64_t first_out_panel;
  int64_t out_panels;
};

// `sums` are those of the first channels: [out_panels, in_blocks * kInBlock,
// kPanelWidth]. Calls between(), which may ask for what comes later, once for
// every pair of panels.
template <typename Between>
inline void MultiplyPlane(const WinogradPlan& plan,
                          const PlaneChannels& channels, PanelPair pair,
                          float* sums, const Between& between) {
  const float* in = pair.in;
  const float* out = pair.out;
  for (int64_t panel = 0; panel < channels.out_panels; ++panel) {
    const int64_t out_panel = channels.first_out_panel + panel;
    const int64_t left = channels.out_depth - out_panel * kPanelWidth;
    pair.out = out + out_panel * plan.block_tiles * kPanelWidth;
    for (int64_t block = 0; block < channels.in_blocks; ++block) {
      const int64_t in_block = channels.first_in_block + block;
      const int64_t in_left = channels.in_depth - in_block * kInBlock;
      pair.in = in + in_block * plan.block_tiles * kInBlock;
      between();
      if (left > kLanes<float>) {
        MultiplyPanels<2>(pair, in_left, sums);
      } else {
        MultiplyPanels<1>(pair, in_left, sums);
      }
      sums += kInBlock * kPanelWidth;
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_PRODUCT_INL_H_
