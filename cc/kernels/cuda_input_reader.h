// How a thread of the accumulation reads its input channels. Only .cu files
// include this.

#ifndef TF_APPROXGRAD_CC_KERNELS_CUDA_INPUT_READER_H_
#define TF_APPROXGRAD_CC_KERNELS_CUDA_INPUT_READER_H_

#include <cstdint>

#include "cc/kernels/cuda_accumulation_stage.h"
#include "cc/kernels/cuda_elements.h"
#include "cc/kernels/cuda_plan.h"

namespace tf_approxgrad {
namespace {

// Where a thread finds its kVector input channels.
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
  __device__ uint32_t TapOffset(uint32_t pixels) const {
    return pixels * pitch_;
  }
  __device__ void StartStage(const T* tile) { tile_ = tile + first_; }
  // The sums of pixels wrap around; see Reach.
  __device__ uint32_t Start(int example, uint32_t pixels) const {
    return (example * pixels_ + pixels) * pitch_;
  }
  __device__ Elements<T, kVector> Read(uint32_t start, uint32_t tap) const {
    return ReadElements<kVector>(tile_ + (start + tap));
  }

 private:
  int first_;
  uint32_t pitch_;
  uint32_t pixels_;
  const T* tile_;
};

// In the input itself, NHWC: 16 bytes of channels.
template <typename T, int kVector>
class InputReader<T, CudaInput::kVectors, kVector> {
 public:
  struct Place {
    const T* example;
    uint32_t pixels;
  };

  __device__ InputReader(const AccumulationTask& task, int in_channel, int lane)
      : first_(lane * kVector),
        in_channel_(in_channel),
        has_channels_(in_channel + first_ < task.in_depth),
        depth_(task.in_depth),
        pixels_(task.pixels) {}

  __device__ int Channel(int v) const { return first_ + v; }
  __device__ uint32_t TapOffset(uint32_t pixels) const { return pixels; }
  __device__ void StartStage(const T* examples) {
    examples_ = examples + in_channel_ + first_;
  }
  __device__ Place Start(int example, uint32_t pixels) const {
    return {examples_ + static_cast<int64_t>(example) * pixels_ * depth_,
            pixels};
  }
  __device__ Elements<T, kVector> Read(const Place& start, uint32_t tap) const {
    if (!has_channels_) return {};
    const uint32_t pixel = start.pixels + tap;
    return ReadElements<kVector>(start.example +
                                 static_cast<int64_t>(pixel) * depth_);
  }

 private:
  int first_;
  int in_channel_;
  bool has_channels_;
  int depth_;
  int pixels_;
  const T* examples_;
};

// In the input itself, in either layout: channels one by one. Neighbouring
// lanes have neighbouring channels, so that in NHWC a load of a warp is whole
// lines.
template <typename T, int kVector>
class InputReader<T, CudaInput::kElements, kVector> {
 public:
  using Place = typename InputReader<T, CudaInput::kVectors, kVector>::Place;

  __device__ InputReader(const AccumulationTask& task, int in_channel, int lane)
      : lane_(lane),
        lanes_(task.lanes),
        left_(task.in_depth - in_channel),
        pixel_stride_(task.input_layout == Layout::kNHWC ? task.in_depth : 1),
        channel_stride_(task.input_layout == Layout::kNHWC ? 1 : task.pixels),
        first_(static_cast<int64_t>(in_channel + lane) * channel_stride_),
        example_size_(static_cast<int64_t>(task.pixels) * task.in_depth) {}

  __device__ int Channel(int v) const { return v * lanes_ + lane_; }
  __device__ uint32_t TapOffset(uint32_t pixels) const { return pixels; }
  __device__ void StartStage(const T* examples) {
    examples_ = examples + first_;
  }
  __device__ Place Start(int example, uint32_t pixels) const {
    return {examples_ + example * example_size_, pixels};
  }
  __device__ Elements<T, kVector> Read(const Place& start, uint32_t tap) const {
    const uint32_t pixel = start.pixels + tap;
    const T* from = start.example + static_cast<int64_t>(pixel) * pixel_stride_;
    Elements<T, kVector> read;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      read.values[v] =
          Channel(v) < left_
              ? from[static_cast<int64_t>(v * lanes_) * channel_stride_]
              : T{};
    }
    return read;
  }

 private:
  int lane_;
  int lanes_;
  // Channels from the block's first to the input's last.
  int left_;
  int pixel_stride_;
  int channel_stride_;
  int64_t first_;
  int64_t example_size_;
  const T* examples_;
};

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_CUDA_INPUT_READER_H_
