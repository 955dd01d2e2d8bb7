// How a thread of the accumulation reads its input channels. Only .cu files
// include this.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_INPUT_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_INPUT_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cuda/positions/accumulation_stage.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/runtime/elements.h"

namespace tf_approxgrad {
namespace {

// Where a thread finds its kVector input channels. Where a patch begins is a
// number, Place, and where a tap lies from there another, TapOffset; both wrap
// around and are right once they are added up, for a tap that lies inside.
template <typename T, CudaInput kInput, int kVector>
class InputReader;

// In a tile [examples, pixels, pitch] in shared memory: 16 bytes of channels.
template <typename T, int kVector>
class InputReader<T, CudaInput::kTile, kVector> {
 public:
  __device__ InputReader(const AccumulationTask& task, int, int lane)
      : first_(lane * kVector),
        pitch_(task.pixel_pitch),
        pixels_(task.pixels) {}

  // The channel number v of the thread's, among the block's.
  __device__ int Channel(int v) const { return first_ + v; }
  // Bytes, so that a tap's address takes one addition.
  __device__ uint32_t TapOffset(uint32_t pixels) const {
    return pixels * pitch_ * sizeof(T);
  }
  // `example` counts from the stage's first.
  __device__ uint32_t Place(int example, uint32_t pixels) const {
    return (example * pixels_ + pixels) * pitch_ * sizeof(T);
  }
  __device__ void StartStage(const T* tile) {
    tile_ = reinterpret_cast<const unsigned char*>(tile + first_);
  }
  __device__ Packed<T, kVector> Read(uint32_t place, uint32_t tap) const {
    return ReadPacked<kVector>(
        reinterpret_cast<const T*>(tile_ + (place + tap)));
  }

 private:
  int first_;
  uint32_t pitch_;
  uint32_t pixels_;
  const unsigned char* tile_;
};

// In the input itself, NHWC: 16 bytes of channels.
template <typename T, int kVector>
class InputReader<T, CudaInput::kVectors, kVector> {
 public:
  __device__ InputReader(const AccumulationTask& task, int in_channel, int lane)
      : first_(lane * kVector),
        in_channel_(in_channel),
        has_channels_(in_channel + first_ < task.in_depth),
        depth_(task.in_depth),
        pixels_(task.pixels) {}

  __device__ int Channel(int v) const { return first_ + v; }
  __device__ uint32_t TapOffset(uint32_t pixels) const { return pixels; }
  __device__ uint32_t Place(int example, uint32_t pixels) const {
    return example * pixels_ + pixels;
  }
  __device__ void StartStage(const T* examples) {
    examples_ = examples + in_channel_ + first_;
  }
  __device__ Packed<T, kVector> Read(uint32_t place, uint32_t tap) const {
    if (!has_channels_) return {};
    return ReadPacked<kVector>(examples_ +
                               static_cast<int64_t>(place + tap) * depth_);
  }

 private:
  int first_;
  int in_channel_;
  bool has_channels_;
  uint32_t depth_;
  uint32_t pixels_;
  const T* examples_;
};

// In the input itself, in either layout: channels one by one. Neighbouring
// lanes have neighbouring channels, so that in NHWC a load of a warp is whole
// lines.
template <typename T, int kVector>
class InputReader<T, CudaInput::kElements, kVector> {
 public:
  __device__ InputReader(const AccumulationTask& task, int in_channel, int lane)
      : lane_(lane),
        lanes_(task.lanes),
        left_(task.in_depth - in_channel),
        pixel_stride_(task.input_layout == Layout::kNHWC ? task.in_depth : 1),
        channel_stride_(task.input_layout == Layout::kNHWC ? 1 : task.pixels),
        example_stride_(task.input_layout == Layout::kNHWC
                            ? task.pixels
                            : static_cast<uint32_t>(task.pixels) *
                                  task.in_depth),
        first_(static_cast<int64_t>(in_channel + lane) * channel_stride_) {}

  __device__ int Channel(int v) const { return v * lanes_ + lane_; }
  __device__ uint32_t TapOffset(uint32_t pixels) const { return pixels; }
  __device__ void StartStage(const T* examples) {
    examples_ = examples + first_;
  }
  __device__ uint32_t Place(int example, uint32_t pixels) const {
    return example * example_stride_ + pixels;
  }
  __device__ Packed<T, kVector> Read(uint32_t place, uint32_t tap) const {
    const T* from =
        examples_ + static_cast<int64_t>(place + tap) * pixel_stride_;
    Elements<T, kVector> read;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      read.values[v] =
          Channel(v) < left_
              ? from[static_cast<int64_t>(v * lanes_) * channel_stride_]
              : T{};
    }
    Packed<T, kVector> packed;
    memcpy(&packed, &read, sizeof(packed));
    return packed;
  }

 private:
  int lane_;
  int lanes_;
  // Channels from the block's first to the input's last.
  int left_;
  uint32_t pixel_stride_;
  int channel_stride_;
  // In pixel strides.
  uint32_t example_stride_;
  int64_t first_;
  const T* examples_;
};

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_INPUT_H_
