// The Winograd transforms along one axis, lane by lane.
//
// The filter gradient is the sum over the points of (dY transformed) * (X
// transformed), inversely transformed. Read as a sum over dY, X and filters it
// is the convolution as well: the sum of (X transformed) * (filters transformed
// by the transposed inverse), transformed by the transpose of dY's. The input
// gradient is a convolution of dY.
//
// The points are +-b, 0, +-a, infinity with a = 2/3 and b = 1 / a, in this
// order, so that those of every edge lie next to each other. They round as
// little as dense products do, where 0, +-1, +-2, infinity lose a digit. Rows
// are scaled by powers of b so that every coefficient is a float exactly; the
// inverse, which runs once a call, takes the scales back.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_POINTS_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_POINTS_INL_H_

#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/winograd/plan.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Taps of a filter along an axis.
constexpr int kTaps = 3;

constexpr float kB = 1.5f;
constexpr float kB2 = kB * kB;
constexpr float kB4 = kB2 * kB2;

// The points of an edge of `pixels` of dY are [begin, end). Three pixels are
// four of which the last is zero, as its product at infinity is; likewise one
// and two.
constexpr int PointsBegin(int pixels) { return pixels >= 3 ? 0 : 2; }
constexpr int PointsEnd(int pixels) { return pixels % 2 == 0 ? 6 : 5; }

// An edge of dY: its polynomial at the points, at +-a times b^3, or times b for
// at most two pixels.
template <int kPixels>
struct OutTransform {
  static constexpr int kInputs = kPixels;
  static constexpr int kBegin = PointsBegin(kPixels);
  static constexpr int kEnd = PointsEnd(kPixels);

  static inline __attribute__((always_inline)) void Apply(
      const Vector<float>* y, Vector<float>* at) {
    if constexpr (kPixels >= 3) {
      const Vector<float> even_a = y[2] + kB2 * y[0];
      const Vector<float> even_b = y[0] + kB2 * y[2];
      Vector<float> odd_a = kB2 * y[1];
      Vector<float> odd_b = y[1];
      if constexpr (kPixels == 4) {
        odd_a += y[3];
        odd_b += kB2 * y[3];
        at[5] = y[3];
      }
      at[0] = even_b + kB * odd_b;
      at[1] = even_b - kB * odd_b;
      at[3] = kB * even_a + odd_a;
      at[4] = kB * even_a - odd_a;
    } else if constexpr (kPixels == 2) {
      at[3] = kB * y[0] + y[1];
      at[4] = kB * y[0] - y[1];
      at[5] = y[1];
    } else {
      at[3] = kB * y[0];
      at[4] = at[3];
    }
    at[2] = y[0];
  }

  static inline __attribute__((always_inline)) void ApplyTransposed(
      const Vector<float>* at, Vector<float>* y) {
    const Vector<float> even_a = at[3] + at[4];
    const Vector<float> odd_a = at[3] - at[4];
    if constexpr (kPixels >= 3) {
      const Vector<float> even_b = at[0] + at[1];
      const Vector<float> odd_b = at[0] - at[1];
      y[0] = at[2] + even_b + (kB * kB2) * even_a;
      y[1] = kB * odd_b + kB2 * odd_a;
      y[2] = kB2 * even_b + kB * even_a;
      if constexpr (kPixels == 4) {
        y[3] = (kB * kB2) * odd_b + odd_a + at[5];
      }
    } else {
      y[0] = at[2] + kB * even_a;
      if constexpr (kPixels == 2) y[1] = odd_a + at[5];
    }
  }
};

// The pixels of X that such an edge meets. With M the product of (x - p) over
// its points but infinity, the row of a point p is M / (x - p), that of
// infinity M. They are times b^2, at +-a times b. For two pixels or one, with
// M = x (x^2 - a^2), scales make them fit the sums of the others.
template <int kPixels>
struct InTransform {
  static constexpr int kInputs = kPixels + 2;
  static constexpr int kBegin = PointsBegin(kPixels);
  static constexpr int kEnd = PointsEnd(kPixels);

  static inline __attribute__((always_inline)) void Apply(
      const Vector<float>* x, Vector<float>* at) {
    if constexpr (kPixels >= 3) {
      const Vector<float> even_a = x[4] - kB2 * x[2];
      const Vector<float> odd_a = x[3] - kB2 * x[1];
      const Vector<float> even_b = kB2 * x[4] - x[2];
      const Vector<float> odd_b = kB2 * x[3] - x[1];
      at[0] = even_b + kB * odd_b;
      at[1] = even_b - kB * odd_b;
      at[2] = kB2 * even_a - (x[2] - kB2 * x[0]);
      at[3] = kB * even_a + odd_a;
      at[4] = kB * even_a - odd_a;
      if constexpr (kPixels == 4) {
        at[5] = kB2 * (x[5] - kB2 * x[3]) - odd_a;
      }
    } else {
      const Vector<float> even = (kB * (1 - kB4)) * x[2];
      at[2] = kB2 * x[0] - kB4 * x[2];
      at[3] = even + (1 - kB4) * x[1];
      at[4] = even - (1 - kB4) * x[1];
      if constexpr (kPixels == 2) at[5] = kB2 * x[3] - x[1];
    }
  }
};

constexpr float kOfA = static_cast<float>(1 / (2 * (1 - 5.0625)));
constexpr float kOfB = static_cast<float>(1 / (2 * 2.25 * (5.0625 - 1)));
constexpr float kEnds = static_cast<float>(1 / 2.25);

// The three taps of what the points' products add up to.
inline __attribute__((always_inline)) void InverseTransform(
    const Vector<float>* sums, Vector<float>* taps) {
  const Vector<float> even_a = kOfA * (sums[3] + sums[4]);
  const Vector<float> even_b = kOfB * (sums[0] + sums[1]);
  const Vector<float> odd_a = kOfA * (sums[3] - sums[4]);
  const Vector<float> odd_b = kOfB * (sums[0] - sums[1]);
  taps[0] = even_a + even_b + kEnds * sums[2];
  taps[1] = static_cast<float>(1 / 1.5) * odd_a + kB * odd_b;
  taps[2] = kEnds * (even_a + sums[5]) + kB2 * even_b;
}

// The transpose of that: a filter's three taps at the points.
inline __attribute__((always_inline)) void FilterTransform(
    const Vector<float>* taps, Vector<float>* at) {
  const Vector<float> even_a = kOfA * (taps[0] + kEnds * taps[2]);
  const Vector<float> odd_a = (kOfA * static_cast<float>(1 / 1.5)) * taps[1];
  const Vector<float> even_b = kOfB * (taps[0] + kB2 * taps[2]);
  const Vector<float> odd_b = (kOfB * kB) * taps[1];
  at[0] = even_b + odd_b;
  at[1] = even_b - odd_b;
  at[2] = kEnds * taps[0];
  at[3] = even_a + odd_a;
  at[4] = even_a - odd_a;
  at[5] = kEnds * taps[2];
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_POINTS_INL_H_
