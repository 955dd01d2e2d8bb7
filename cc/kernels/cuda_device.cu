#include "cc/kernels/cuda_device.h"

namespace tf_approxgrad {

cudaError_t ReadCudaDevice(CudaDevice* device) {
  int number = 0;
  cudaError_t status = cudaGetDevice(&number);
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
  // Two transfers a cycle of a bus that is given in bits.
  device->bytes_per_second = 2e3 * attribute(cudaDevAttrMemoryClockRate) *
                             attribute(cudaDevAttrGlobalMemoryBusWidth) / 8;
  return status;
}

}  // namespace tf_approxgrad
