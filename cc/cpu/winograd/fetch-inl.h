// What is on its way while something else is multiplied.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_FETCH_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_FETCH_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/integer_math.h"
#include "cc/common/target.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/cpu/winograd/product-inl.h"
#include "cc/cpu/winograd/tiles-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Memory that is asked for in order, a little in each step.
class Stream {
 public:
  // Sets what to read in `steps` steps; begins with the last range's end or
  // later.
  void Read(const float* begin, const float* end, int64_t steps) {
    if (begin != end_) next_ = begin;
    end_ = end;
    const int64_t left = end_ - next_;
    lines_ = left > 0 ? DivideUp(DivideUp(left, kLine), steps) : 0;
    if (left > 0) LoadFrom(next_);
  }

  void Step() {
    for (int64_t line = 0; line < lines_ && next_ < end_; ++line) {
      if (reinterpret_cast<uintptr_t>(next_) % kPageBytes < kLineBytes &&
          end_ - next_ > kPage) {
        LoadFrom(next_ + kPage);
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

  // A prefetch from a page whose address isn't known yet does nothing on a Zen
  // 3. A load makes it known, but waits for memory, and a Zen 5 needs none
  // (a Zen 4 wasn't tried).
  // Another worker may be writing there: nobody uses what is read.
  static void LoadFrom([[maybe_unused]] const float* address) {
#if TF_APPROXGRAD_VECTOR_BYTES != 64
    (void)*static_cast<const volatile float*>(address);
#endif
  }

  const float* next_ = nullptr;
  const float* end_ = nullptr;
  int64_t lines_ = 0;
};

// Elements of the input up to the last that the first `count` tiles meet, at
// least; whole rows.
inline int64_t InEnd(const ConvGeometry& g, const WinogradTiles& tiles,
                     int64_t count) {
  if (count == 0) return 0;
  const TileOfMap last = FindTile(g, tiles, count - 1);
  const int64_t row = last.row + last.rows + 2 - g.pad_top;
  const int64_t rows = row < 0 ? 0 : row < g.in_rows ? row : g.in_rows;
  return (last.image * g.in_rows + rows) * g.in_cols * g.in_depth;
}

// The same of the output.
inline int64_t OutEnd(const ConvGeometry& g, const WinogradTiles& tiles,
                      int64_t count) {
  if (count == 0) return 0;
  const TileOfMap last = FindTile(g, tiles, count - 1);
  return (last.image * g.out_rows + last.row + last.rows) * g.out_cols *
         g.out_depth;
}

// Maps of the input and the output around the tiles that come next.
class PixelStreams {
 public:
  PixelStreams(const ConvGeometry& g, const WinogradTiles& tiles,
               const float* input, const float* output)
      : g_(g), tiles_(tiles), input_(input), output_(output) {}

  // Tiles before `begin` have been read.
  void Read(int64_t begin, int64_t end, int64_t steps) {
    ReadInput(begin, end, steps);
    ReadOutput(begin, end, steps);
  }
  void ReadInput(int64_t begin, int64_t end, int64_t steps) {
    in_.Read(input_ + InEnd(g_, tiles_, begin), input_ + InEnd(g_, tiles_, end),
             steps);
  }
  void ReadOutput(int64_t begin, int64_t end, int64_t steps) {
    out_.Read(output_ + OutEnd(g_, tiles_, begin),
              output_ + OutEnd(g_, tiles_, end), steps);
  }

  void Step() {
    in_.Step();
    out_.Step();
  }

 private:
  const ConvGeometry& g_;
  const WinogradTiles& tiles_;
  const float* input_;
  const float* output_;
  Stream in_;
  Stream out_;
};

// A chunk of the panels that are shared, plane by plane.
class PanelStreams {
 public:
  PanelStreams(const WinogradPlan& plan, const PlaneChannels& channels,
               const float* panels)
      : plan_(plan),
        channels_(channels),
        in_panels_(panels + channels.first_in_block * in_stride()),
        out_panels_(panels + kPlanes * plan.in_plane() +
                    channels.first_out_panel * out_stride()) {}

  void Read(int64_t plane) {
    const int64_t steps = channels_.in_blocks * channels_.out_panels;
    const float* in = in_panels_ + plane * plan_.in_plane();
    in_.Read(in, in + channels_.in_blocks * in_stride(), steps);
    const float* out = out_panels_ + plane * plan_.out_plane();
    out_.Read(out, out + channels_.out_panels * out_stride(), steps);
  }

  void Step() {
    in_.Step();
    out_.Step();
  }

 private:
  int64_t in_stride() const { return plan_.block_tiles * kInBlock; }
  int64_t out_stride() const { return plan_.block_tiles * plan_.panel_width; }

  const WinogradPlan& plan_;
  const PlaneChannels& channels_;
  const float* in_panels_;
  const float* out_panels_;
  Stream in_;
  Stream out_;
};

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_FETCH_INL_H_
