// The words of CUDA C++ that the kernels and their tests use, for g++: vectors,
// intrinsics, and the runtime's functions with device memory from the heap,
// each buffer of exactly its size.

#ifndef TF_APPROXGRAD_CC_CUDA_EMULATION_RUNTIME_H_
#define TF_APPROXGRAD_CC_CUDA_EMULATION_RUNTIME_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __constant__ static const
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __grid_constant__

#define TF_APPROXGRAD_VECTORS(T, NAME)                         \
  struct alignas(2 * sizeof(T)) NAME##2 {                      \
    T x, y;                                                    \
  };                                                           \
  struct NAME##3 {                                             \
    T x, y, z;                                                 \
  };                                                           \
  struct alignas(sizeof(T) < 8 ? 4 * sizeof(T) : 16) NAME##4 { \
    T x, y, z, w;                                              \
  };                                                           \
  inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }   \
  inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
TF_APPROXGRAD_VECTORS(uint16_t, ushort)
TF_APPROXGRAD_VECTORS(int, int)
TF_APPROXGRAD_VECTORS(unsigned, uint)
TF_APPROXGRAD_VECTORS(float, float)
TF_APPROXGRAD_VECTORS(double, double)
#undef TF_APPROXGRAD_VECTORS

struct dim3 {
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1)
      : x(x), y(y), z(z) {}
  unsigned x, y, z;
};

using std::max;
using std::min;

template <typename To, typename From>
To CudaBitCast(From from) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}
inline float __uint_as_float(unsigned bits) { return CudaBitCast<float>(bits); }
inline float __int_as_float(int bits) { return CudaBitCast<float>(bits); }
inline unsigned __float_as_uint(float v) { return CudaBitCast<unsigned>(v); }
inline int __float_as_int(float value) { return CudaBitCast<int>(value); }
inline long long __double_as_longlong(double value) {
  return CudaBitCast<long long>(value);
}
inline double __longlong_as_double(long long bits) {
  return CudaBitCast<double>(bits);
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long b) { return __builtin_popcountll(b); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(bits); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(uint64_t{a} * b >> 32);
}
// Compiled with -ffp-contract=off, these round once as their namesakes do.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fsqrt_rn(float value) { return std::sqrt(value); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
template <typename T>
T __ldg(const T* from) {
  return *from;
}

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
};
inline const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    default:
      return "invalid argument";
  }
}

// There is one stream: everything is done when its call returns.
using cudaStream_t = struct CUstream_st*;

namespace tf_approxgrad {
namespace cuda_on_cpu {

// In which order threads and blocks run, and the byte that fills memory in
// which nobody has written.
struct Schedule {
  enum Order { kForward, kReverse, kShuffled } order = kForward;
  unsigned seed = 0;
  int poison = 0xff;
};
inline Schedule schedule;

// Of an H100.
constexpr size_t kSharedBytesPerBlock = 227 * 1024;

}  // namespace cuda_on_cpu
}  // namespace tf_approxgrad

enum cudaDeviceAttr {
  cudaDevAttrClockRate,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrL2CacheSize,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
};
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
// An H100's (SXM).
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name,
                                          int) {
  constexpr int kValues[] = {1980000, 132, 50 << 20, 9, 0, 227 * 1024};
  *value = kValues[name];
  return cudaSuccess;
}

template <typename T>
cudaError_t cudaMalloc(T** memory, size_t bytes) {
  void* bought = nullptr;
  if (posix_memalign(&bought, 256, bytes) != 0) {
    return cudaErrorMemoryAllocation;
  }
  std::memset(bought, tf_approxgrad::cuda_on_cpu::schedule.poison, bytes);
  *memory = static_cast<T*>(bought);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes,
                              cudaMemcpyKind) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemset(void* memory, int byte, size_t bytes) {
  std::memset(memory, byte, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes,
                                   cudaStream_t) {
  return cudaMemset(memory, byte, bytes);
}
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

#endif  // TF_APPROXGRAD_CC_CUDA_EMULATION_RUNTIME_H_
