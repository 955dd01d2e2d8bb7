// Storage types of the tensors and the types in which the kernels compute.
//
// The kernels read float, double, bfloat16 and half, convert each element as
// it is loaded, and accumulate in AccumulatorOf<T>::type. Bfloat16 and Half
// have the bit layout of Eigen::bfloat16 and Eigen::half, so that a
// TensorFlow buffer can be read in place without a TensorFlow header here.

#ifndef TF_APPROXGRAD_CC_COMMON_FLOAT_TYPES_H_
#define TF_APPROXGRAD_CC_COMMON_FLOAT_TYPES_H_

#include <cstdint>
#include <cstring>

#include "cc/common/host_device.h"

namespace tf_approxgrad {

struct Bfloat16 {
  uint16_t bits;
};

struct Half {
  uint16_t bits;
};

template <typename T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};

namespace internal {

TF_APPROXGRAD_HOST_DEVICE inline float FloatFromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

TF_APPROXGRAD_HOST_DEVICE inline uint32_t BitsOfFloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

}  // namespace internal

TF_APPROXGRAD_HOST_DEVICE inline float Load(float value) { return value; }
TF_APPROXGRAD_HOST_DEVICE inline double Load(double value) { return value; }

TF_APPROXGRAD_HOST_DEVICE inline float Load(Bfloat16 value) {
  return internal::FloatFromBits(static_cast<uint32_t>(value.bits) << 16);
}

// Exact for every half, subnormals, infinities and NaN included, also where the
// processor flushes subnormal floats to zero, as TensorFlow's threads do. No
// branch, so that loops over this vectorise.
TF_APPROXGRAD_HOST_DEVICE inline float Load(Half value) {
  constexpr uint32_t kRebias = (127u - 15u) << 23;
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t shifted = static_cast<uint32_t>(value.bits & 0x7fffu) << 13;
  const uint32_t exponent = shifted & 0x0f800000u;
  const uint32_t special = exponent == 0x0f800000u ? kRebias : 0u;
  const uint32_t normal = shifted + kRebias + special;
  // 2^-14 * (1 + m) less 2^-14 leaves the subnormal 2^-14 * m.
  const float subnormal =
      internal::FloatFromBits(shifted + kRebias + (1u << 23)) - 0x1p-14f;
  const uint32_t magnitude =
      exponent == 0u ? internal::BitsOfFloat(subnormal) : normal;
  return internal::FloatFromBits(magnitude | sign);
}

template <typename T>
TF_APPROXGRAD_HOST_DEVICE T Store(typename AccumulatorOf<T>::type value);

template <>
TF_APPROXGRAD_HOST_DEVICE inline float Store<float>(float value) {
  return value;
}

template <>
TF_APPROXGRAD_HOST_DEVICE inline double Store<double>(double value) {
  return value;
}

// Rounds to nearest, ties to even; NaN stays NaN.
template <>
TF_APPROXGRAD_HOST_DEVICE inline Bfloat16 Store<Bfloat16>(float value) {
  const uint32_t bits = internal::BitsOfFloat(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return Bfloat16{static_cast<uint16_t>((bits >> 16) | 0x0040u)};
  }
  const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return Bfloat16{static_cast<uint16_t>(rounded >> 16)};
}

// Rounds to nearest, ties to even; overflow becomes infinity, NaN stays NaN.
template <>
TF_APPROXGRAD_HOST_DEVICE inline Half Store<Half>(float value) {
  const uint32_t bits = internal::BitsOfFloat(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return Half{static_cast<uint16_t>(sign | 0x7e00u)};
  // 65520 is the first float that rounds beyond the largest half.
  if (magnitude >= 0x477ff000u) {
    return Half{static_cast<uint16_t>(sign | 0x7c00u)};
  }
  if (magnitude < 0x38800000u) {
    // Subnormal half: adding 0.5 lines the last half bit up with the last
    // float bit, and the addition itself rounds to nearest even.
    const float shifted = internal::FloatFromBits(magnitude) + 0.5f;
    return Half{static_cast<uint16_t>(
        sign | (internal::BitsOfFloat(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return Half{static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_COMMON_FLOAT_TYPES_H_
