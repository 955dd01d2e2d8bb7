// Elements in device code: conversions, vectors of 16 bytes, sums of a warp,
// and copies that don't wait. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_KERNELS_CUDA_ELEMENTS_H_
#define TF_APPROXGRAD_CC_KERNELS_CUDA_ELEMENTS_H_

#include <cstdint>

#include "cc/kernels/float_types.h"
#include "cc/kernels/launch.h"

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

namespace tf_approxgrad {

constexpr int kWarpLanes = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

template <typename T>
__device__ inline typename AccumulatorOf<T>::type LoadElement(T value) {
  return Load(value);
}

#ifdef __CUDACC__
// One instruction instead of a dozen.
template <>
__device__ inline float LoadElement<Half>(Half value) {
  return __half2float(__ushort_as_half(value.bits));
}
#endif

__device__ inline float MultiplyAdd(float a, float b, float c) {
  return fmaf(a, b, c);
}
__device__ inline double MultiplyAdd(double a, double b, double c) {
  return fma(a, b, c);
}

__device__ inline float Magnitude(float value) { return fabsf(value); }
__device__ inline double Magnitude(double value) { return fabs(value); }

__device__ inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// Neighbouring elements that are read in one access.
template <typename T, int kCount>
struct Elements {
  T values[kCount];
};

// `from` is aligned to the access: an element, or 16 bytes of them.
template <int kCount, typename T>
__device__ inline Elements<T, kCount> ReadElements(const T* from) {
  Elements<T, kCount> elements;
  if constexpr (kCount * sizeof(T) == sizeof(uint4)) {
    const uint4 bytes = *reinterpret_cast<const uint4*>(from);
    memcpy(&elements, &bytes, sizeof(bytes));
  } else {
    static_assert(kCount == 1, "an element or 16 bytes");
    elements.values[0] = *from;
  }
  return elements;
}

// `to` is aligned to the access: an element, or whole accesses of 16 bytes.
template <int kCount, typename T>
__device__ inline void WriteElements(const Elements<T, kCount>& elements,
                                     T* to) {
  if constexpr (kCount == 1) {
    *to = elements.values[0];
  } else {
    constexpr int kAccesses = kCount * sizeof(T) / sizeof(uint4);
    static_assert(kAccesses * sizeof(uint4) == kCount * sizeof(T), "whole");
#pragma unroll
    for (int i = 0; i < kAccesses; ++i) {
      uint4 bytes;
      memcpy(&bytes, elements.values + i * (kCount / kAccesses), sizeof(bytes));
      reinterpret_cast<uint4*>(to)[i] = bytes;
    }
  }
}

// The sum over a warp, the same bits in every lane.
template <typename Accumulator>
__device__ inline Accumulator WarpSum(Accumulator value) {
  for (int offset = kWarpLanes / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}

// Copies 16 bytes, both ends aligned to them, from global to shared memory, in
// the background from sm_80 on. They are there after the thread's
// WaitForCopies, and for the block after a __syncthreads behind it.
__device__ inline void CopyLater(void* shared, const void* global) {
  __pipeline_memcpy_async(shared, global, sizeof(uint4));
}

__device__ inline void WaitForCopies() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_CUDA_ELEMENTS_H_
