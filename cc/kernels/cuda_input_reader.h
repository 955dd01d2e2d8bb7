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
  using Values = Elements<T, kVector>;

  __device__ InputReader(const AccumulationTask& task, int, int lane)
      : first_(lane * kVector), example_bytes_(task.pixels * task.pixel_step) {}

  // The channel number v of the thread's, among the block's.
  __device__ int Channel(int v) const { return first_ + v; }
  // Whether the input has any of them; the tile has zeros where not.
  __device__ bool has_channels() const { return true; }
  __device__ void StartStage(const T* tile) {
    tile_ = reinterpret_cast<const unsigned char*>(tile + first_);
  }
  __device__ uint32_t Start(int example, uint32_t offset) const {
    return example * example_bytes_ + offset;
  }
  // Offsets wrap around; see Reach.
  __device__ Values Read(uint32_t start, uint32_t tap) const {
    return ReadElements<kVector>(
        reinterpret_cast<const T*>(tile_ + (start + tap)));
  }

 private:
  int first_;
  uint32_t example_bytes_;
  const unsigned char* tile_;
};

// A place in the input itself.
template <typename T>
struct InputPlace {
  const T* example;
  uint32_t offset;
};

// In the input itself, NHWC: 16 bytes of channels.
template <typename T, int kVector>
class InputReader<T, CudaInput::kVectors, kVector> {
 public:
  using Values = Elements<T, kVector>;

  __device__ InputReader(const AccumulationTask& task, int in_channel, int lane)
      : task_(task),
        lane_(lane),
        in_channel_(in_channel),
        has_channels_(in_channel + lane * kVector < task.in_depth) {}

  __device__ int Channel(int v) const { return lane_ * kVector + v; }
  __device__ bool has_channels() const { return has_channels_; }
  __device__ void StartStage(const T* examples) {
    examples_ = examples + in_channel_ + lane_ * kVector;
  }
  __device__ InputPlace<T> Start(int example, uint32_t offset) const {
    return {examples_ +
                static_cast<int64_t>(example) * (task_.pixels * task_.in_depth),
            offset};
  }
  __device__ Values Read(const InputPlace<T>& start, uint32_t tap) const {
    return ReadElements<kVector>(start.example + (start.offset + tap));
  }

 private:
  const AccumulationTask& task_;
  int lane_;
  int in_channel_;
  bool has_channels_;
  const T* examples_;
};

// In the input itself, in either layout: channels one by one. Neighbouring
// lanes have neighbouring channels, so that in NHWC a load of a warp is whole
// lines.
template <typename T, int kVector>
class InputReader<T, CudaInput::kElements, kVector> {
 public:
  using Values = Elements<T, kVector, false>;

  __device__ InputReader(const AccumulationTask& task, int in_channel, int lane)
      : lane_(lane),
        lanes_(task.lanes),
        left_(task.in_depth - in_channel),
        pixel_stride_(task.input_layout == Layout::kNHWC ? task.in_depth : 1),
        channel_stride_(task.input_layout == Layout::kNHWC ? 1 : task.pixels),
        first_(static_cast<int64_t>(in_channel + lane) * channel_stride_),
        example_size_(static_cast<int64_t>(task.pixels) * task.in_depth) {}

  __device__ int Channel(int v) const { return v * lanes_ + lane_; }
  __device__ bool has_channels() const { return lane_ < left_; }
  __device__ void StartStage(const T* examples) {
    examples_ = examples + first_;
  }
  __device__ InputPlace<T> Start(int example, uint32_t pixels) const {
    return {examples_ + example * example_size_, pixels};
  }
  __device__ Values Read(const InputPlace<T>& start, uint32_t tap) const {
    const uint32_t pixel = start.offset + tap;
    const T* from = start.example + static_cast<int64_t>(pixel) * pixel_stride_;
    Values read;
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
