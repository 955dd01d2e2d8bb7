// Pixels that are on their way while others are multiplied.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_FETCH_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_FETCH_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/integer_math.h"
#include "cc/common/target.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/cpu/winograd/tiles-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// A tensor that is read in order.
class PixelStream {
 public:
  PixelStream(const float* begin, int64_t size, int64_t first)
      : next_(begin + first), end_(next_), limit_(begin + size) {}

  // Sets how far to read, and how much of it in each of `steps`.
  void ReadUntil(const float* end, int64_t steps) {
    if (end > limit_) end = limit_;
    if (end > end_) end_ = end;
    lines_ = DivideUp(DivideUp(end_ - next_, kLine), steps);
  }

  void Step() {
    for (int64_t line = 0; line < lines_ && next_ < end_; ++line) {
      // A prefetch from a page whose address isn't known yet does nothing (Zen
      // 3): a load from the page after this one makes it known.
      if (reinterpret_cast<uintptr_t>(next_) % kPageBytes < kLineBytes &&
          limit_ - next_ > kPage) {
        (void)*static_cast<const volatile float*>(next_ + kPage);
      }
      __builtin_prefetch(next_, 0, 2);
      next_ += kLine;
    }
  }

 private:
  static constexpr int64_t kLineBytes = 64;
  static constexpr int64_t kPageBytes = 4096;
  static constexpr int64_t kLine = kLineBytes / sizeof(float);
  static constexpr int64_t kPage = kPageBytes / sizeof(float);

  const float* next_;
  const float* end_;
  const float* limit_;
  int64_t lines_ = 0;
};

// X and dY below the tiles that come next.
class PixelStreams {
 public:
  // Tiles before `first` have been read.
  PixelStreams(const WinogradTask& task, int64_t first)
      : task_(task),
        in_(task.input, task.g.input_size(), InEnd(first)),
        out_(task.out_backprop, task.g.output_size(), OutEnd(first)) {}

  void ReadTilesUntil(int64_t end, int64_t steps) {
    in_.ReadUntil(task_.input + InEnd(end), steps);
    out_.ReadUntil(task_.out_backprop + OutEnd(end), steps);
  }

  void Step() {
    in_.Step();
    out_.Step();
  }

 private:
  // Elements up to the last that the first `tiles` have, at least; whole rows.
  int64_t InEnd(int64_t tiles) const {
    const ConvGeometry& g = task_.g;
    if (tiles == 0) return 0;
    const TileOfMap last = FindTile(g, task_.plan, tiles - 1);
    const int64_t row = last.row + last.rows + 2 - g.pad_top;
    const int64_t rows = row < 0 ? 0 : row < g.in_rows ? row : g.in_rows;
    return (last.image * g.in_rows + rows) * g.in_cols * g.in_depth;
  }
  int64_t OutEnd(int64_t tiles) const {
    const ConvGeometry& g = task_.g;
    if (tiles == 0) return 0;
    const TileOfMap last = FindTile(g, task_.plan, tiles - 1);
    return (last.image * g.out_rows + last.row + last.rows) * g.out_cols *
           g.out_depth;
  }

  const WinogradTask& task_;
  PixelStream in_;
  PixelStream out_;
};

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_FETCH_INL_H_
