// Elements in device code: conversions, vectors of 8 or 16 bytes, sums of a
// warp, and copies that don't wait. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_RUNTIME_ELEMENTS_H_
#define TF_APPROXGRAD_CC_CUDA_RUNTIME_ELEMENTS_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cc/common/float_types.h"
#include "cc/cuda/runtime/launch.h"

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

// Infinity minus itself is NaN, as is a NaN.
template <typename Accumulator>
__device__ inline bool IsFinite(Accumulator value) {
  return value - value == 0;
}

__device__ inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// The quotient of numbers that aren't negative. In 32 bits, where both fit, it
// takes a fraction of the instructions.
__device__ inline int64_t Quotient(int64_t number, int64_t by) {
  if (((number | by) >> 32) == 0) {
    return static_cast<uint32_t>(number) / static_cast<uint32_t>(by);
  }
  return number / by;
}

// Neighbouring elements that are read in one access.
template <typename T, int kCount>
struct Elements {
  T values[kCount];
};

// `from` is aligned to the access: an element, or whole accesses of 16 bytes.
template <int kCount, typename T>
__device__ inline Elements<T, kCount> ReadElements(const T* from) {
  Elements<T, kCount> elements;
  if constexpr (kCount == 1) {
    elements.values[0] = *from;
  } else {
    constexpr int kAccesses = kCount * sizeof(T) / sizeof(uint4);
    static_assert(kAccesses * sizeof(uint4) == kCount * sizeof(T), "whole");
#pragma unroll
    for (int i = 0; i < kAccesses; ++i) {
      const uint4 bytes = reinterpret_cast<const uint4*>(from)[i];
      memcpy(elements.values + i * (kCount / kAccesses), &bytes, sizeof(bytes));
    }
  }
  return elements;
}

// Elements as they are in memory, in registers of 32 bits where they are 8 or
// 16 bytes. What is read under a condition and used later should be these: the
// compiler would keep each element of 16 bits in a register of its own.
template <typename T, int kCount>
using Packed =
    std::conditional_t<kCount * sizeof(T) == sizeof(uint4), uint4,
                       std::conditional_t<kCount * sizeof(T) == sizeof(uint2),
                                          uint2, Elements<T, kCount>>>;

// `from` is aligned to the access, an element or 8 or 16 bytes.
template <int kCount, typename T>
__device__ inline Packed<T, kCount> ReadPacked(const T* from) {
  static_assert(kCount == 1 || kCount * sizeof(T) == sizeof(uint4) ||
                    kCount * sizeof(T) == sizeof(uint2),
                "one access");
  return *reinterpret_cast<const Packed<T, kCount>*>(from);
}

template <typename T, int kCount>
__device__ inline Elements<typename AccumulatorOf<T>::type, kCount> Unpack(
    const Packed<T, kCount>& packed) {
  Elements<typename AccumulatorOf<T>::type, kCount> unpacked;
  if constexpr (std::is_same_v<T, Bfloat16> && kCount > 1) {
    // The upper half of a float: one instruction each.
    uint32_t words[kCount / 2];
    memcpy(words, &packed, sizeof(words));
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      unpacked.values[2 * i] = internal::FloatFromBits(words[i] << 16);
      unpacked.values[2 * i + 1] =
          internal::FloatFromBits(words[i] & 0xffff0000u);
    }
  } else {
    Elements<T, kCount> elements;
    memcpy(&elements, &packed, sizeof(elements));
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      unpacked.values[i] = LoadElement(elements.values[i]);
    }
  }
  return unpacked;
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

// Copies kCount elements, both ends aligned to all of them, from global to
// shared memory, in the background where the device can (from sm_80 on, 4, 8 or
// 16 bytes). They are there after the thread's WaitForCopies, and for the block
// after a __syncthreads behind it.
template <int kCount = 1, typename T>
__device__ inline void CopyLater(T* shared, const T* global) {
  if constexpr (kCount * sizeof(T) >= 4) {
    __pipeline_memcpy_async(shared, global, kCount * sizeof(T));
  } else {
    static_assert(kCount == 1, "one element, or 4 bytes at least");
    *shared = *global;
  }
}

__device__ inline void WaitForCopies() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_RUNTIME_ELEMENTS_H_
