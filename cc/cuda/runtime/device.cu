#include <map>
#include <mutex>

#include "cc/cuda/runtime/device.h"

namespace tf_approxgrad {
namespace {

cudaError_t AskDevice(int number, CudaDevice* device) {
  cudaError_t status = cudaSuccess;
  const auto attribute = [&](cudaDeviceAttr name) {
    int value = 0;
    if (status == cudaSuccess) {
      status = cudaDeviceGetAttribute(&value, name, number);
    }
    return value;
  };
  device->compute_capability =
      10 * attribute(cudaDevAttrComputeCapabilityMajor) +
      attribute(cudaDevAttrComputeCapabilityMinor);
  device->multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  device->shared_bytes_per_block =
      attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  device->l2_bytes = attribute(cudaDevAttrL2CacheSize);
  device->clock_hertz = 1e3 * attribute(cudaDevAttrClockRate);
  return status;
}

}  // namespace

cudaError_t ReadCudaDevice(CudaDevice* device) {
  static std::mutex mutex;
  static std::map<int, CudaDevice> known;
  int number = 0;
  cudaError_t status = cudaGetDevice(&number);
  if (status != cudaSuccess) return status;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = known.find(number);
  if (found != known.end()) {
    *device = found->second;
    return cudaSuccess;
  }
  status = AskDevice(number, device);
  if (status == cudaSuccess) known.emplace(number, *device);
  return status;
}

}  // namespace tf_approxgrad
