// Arrays in a GPU's memory for the standalone tests and benchmarks, which end
// with a sentence where something fails.

#ifndef TF_APPROXGRAD_CC_TESTS_CUDA_DEVICE_ARRAY_H_
#define TF_APPROXGRAD_CC_TESTS_CUDA_DEVICE_ARRAY_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cc/cuda/runtime/runtime_api.h"

namespace tf_approxgrad {

inline void Must(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
  std::exit(1);
}

// `count` elements of which none is written yet: all bits are set, which makes
// every floating-point number NaN. They begin `skipped` elements behind an
// aligned address.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(int64_t count, int64_t skipped = 0)
      : count_(count), skipped_(skipped) {
    Must(cudaMalloc(&memory_, (skipped + count) * sizeof(T)), "cudaMalloc");
    Clear();
  }
  explicit DeviceArray(const std::vector<T>& values, int64_t skipped = 0)
      : DeviceArray(static_cast<int64_t>(values.size()), skipped) {
    Must(cudaMemcpy(get(), values.data(), count_ * sizeof(T),
                    cudaMemcpyHostToDevice),
         "copying to the GPU");
  }
  DeviceArray(DeviceArray&& other)
      : memory_(other.memory_), count_(other.count_), skipped_(other.skipped_) {
    other.memory_ = nullptr;
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(memory_); }

  T* get() const { return memory_ + skipped_; }
  int64_t count() const { return count_; }

  void Clear() {
    Must(cudaMemset(memory_, 0xff, (skipped_ + count_) * sizeof(T)),
         "cudaMemset");
  }

  std::vector<T> Read() const {
    std::vector<T> values(count_);
    Must(cudaMemcpy(values.data(), get(), count_ * sizeof(T),
                    cudaMemcpyDeviceToHost),
         "copying from the GPU");
    return values;
  }

 private:
  T* memory_ = nullptr;
  int64_t count_;
  int64_t skipped_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_CUDA_DEVICE_ARRAY_H_
