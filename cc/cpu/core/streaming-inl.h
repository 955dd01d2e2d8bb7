// Stores past the caches.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_STREAMING_INL_H_
#define TF_APPROXGRAD_CC_CPU_CORE_STREAMING_INL_H_

#include <cstdint>

#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Writes a line past the caches: what doesn't fit them anyway is then not read
// from memory before it is overwritten.
#if defined(__x86_64__) && TF_APPROXGRAD_VECTOR_BYTES == 64
constexpr bool kCanStream = true;
inline void StreamLine(Vector<float> values, float* out) {
  _mm512_stream_ps(out, values);
}
inline void StreamLine(Vector<double> values, double* out) {
  _mm512_stream_pd(out, values);
}
// Streamed lines are seen by other threads after this alone.
inline void EndStreaming() { _mm_sfence(); }
#else
constexpr bool kCanStream = false;
template <typename Accumulator>
inline void StreamLine(Vector<Accumulator> values, Accumulator* out) {
  StoreVector(values, out);
}
inline void EndStreaming() {}
#endif

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_CORE_STREAMING_INL_H_
