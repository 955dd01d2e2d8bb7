// From a word of Philox to a normal number: the radius and the direction of Box
// and Muller's method.

#ifndef TF_APPROXGRAD_CC_COMMON_NORMAL_FUNCTIONS_INL_H_
#define TF_APPROXGRAD_CC_COMMON_NORMAL_FUNCTIONS_INL_H_

#include <cstdint>

#include "cc/common/host_device.h"
#include "cc/common/target.h"

TF_APPROXGRAD_BEGIN_TARGET_WITHOUT_FMA();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

TF_APPROXGRAD_HOST_DEVICE inline float FromBits(int32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

TF_APPROXGRAD_HOST_DEVICE inline int32_t ToBits(float value) {
  int32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// sqrt(-2 ln((floor(word / 2) + 0.5) / 2^31)). Its square is right to about
// 2e-7, of its value or absolutely, whichever is more.
TF_APPROXGRAD_HOST_DEVICE inline float Radius(uint32_t word) {
  const float number =
      static_cast<float>(static_cast<int32_t>(word >> 1)) + 0.5f;
  // number = m * 2^exponent with m from sqrt(1/2) to sqrt(2).
  constexpr int32_t kRootHalf = 0x3f3504f3;
  const int32_t bits = ToBits(number) - kRootHalf;
  const int32_t exponent = bits >> 23;
  const float f = FromBits((bits & 0x007fffff) + kRootHalf) - 1.0f;
  // ln(1 + f) = f - f^2 / 2 + f^3 * p(f), p fitted on the range of f.
  float p = -0.081980861723423f;
  p = p * f + 0.12762627005577087f;
  p = p * f - 0.12959527969360352f;
  p = p * f + 0.14194105565547943f;
  p = p * f - 0.166426882147789f;
  p = p * f + 0.20001843571662903f;
  p = p * f - 0.250002920627594f;
  p = p * f + 0.33333325386047363f;
  const float square = f * f;
  constexpr float kLn2 = 0.693147181f;
  const float ln = static_cast<float>(exponent - 31) * kLn2 +
                   (f - 0.5f * square + square * f * p);
  const float doubled = -2.0f * ln;
  return __builtin_sqrtf(doubled > 0.0f ? doubled : 0.0f);
}

struct Direction {
  float cos, sin;
};

// Cosine and sine of 2 pi word / 2^32, each to about 1e-7.
TF_APPROXGRAD_HOST_DEVICE inline Direction DirectionOf(uint32_t word) {
  // The nearest quarter turn, and what is left, from -pi/4 to pi/4.
  const uint32_t quarter = (word + 0x20000000u) >> 30;
  const int32_t rest = static_cast<int32_t>(word - (quarter << 30));
  constexpr float kUnit = 1.4629180792671596e-9f;  // 2 pi / 2^32
  const float x = static_cast<float>(rest) * kUnit;
  const float square = x * x;
  float s = -0.0001958794891834259f;
  s = s * square + 0.008332748897373676f;
  s = s * square - 0.166666641831398f;
  s = s * square * x + x;
  float c = 2.454388959449716e-5f;
  c = c * square - 0.0013888271059840918f;
  c = c * square + 0.0416666641831398f;
  c = c * square * square - 0.5f * square + 1.0f;
  const bool odd = (quarter & 1) != 0;
  const float cos = odd ? s : c;
  const float sin = odd ? c : s;
  // Cosine is negative in quarters 1 and 2, sine in 2 and 3.
  const int32_t cos_sign = static_cast<int32_t>(((quarter + 1) & 2) << 30);
  const int32_t sin_sign = static_cast<int32_t>((quarter & 2) << 30);
  return {FromBits(ToBits(cos) ^ cos_sign), FromBits(ToBits(sin) ^ sin_sign)};
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_COMMON_NORMAL_FUNCTIONS_INL_H_
