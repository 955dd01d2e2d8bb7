// Vectors of TF_APPROXGRAD_VECTOR_BYTES, in the compiler's own vector types.
//
// No function template of the standard library is called here or in another
// -inl.h: instantiated with wide instructions, the linker could pick its copy
// for code that must run without.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_VECTORS_INL_H_
#define TF_APPROXGRAD_CC_CPU_CORE_VECTORS_INL_H_

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cc/common/float_types.h"
#include "cc/common/target.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

template <typename Accumulator>
struct VectorOf;

template <>
struct VectorOf<float> {
  typedef float Vector __attribute__((vector_size(TF_APPROXGRAD_VECTOR_BYTES)));
  typedef int32_t Integers
      __attribute__((vector_size(TF_APPROXGRAD_VECTOR_BYTES)));
  static constexpr int32_t kMagnitudeBits = 0x7fffffff;
};

template <>
struct VectorOf<double> {
  typedef double Vector
      __attribute__((vector_size(TF_APPROXGRAD_VECTOR_BYTES)));
  typedef int64_t Integers
      __attribute__((vector_size(TF_APPROXGRAD_VECTOR_BYTES)));
  static constexpr int64_t kMagnitudeBits = 0x7fffffffffffffff;
};

template <typename Accumulator>
using Vector = typename VectorOf<Accumulator>::Vector;
template <typename Accumulator>
using Integers = typename VectorOf<Accumulator>::Integers;

template <typename Accumulator>
constexpr int kLanes = TF_APPROXGRAD_VECTOR_BYTES / sizeof(Accumulator);

template <typename To, typename From>
inline To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From), "sizes must be equal");
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

// Both take what isn't aligned.
inline Vector<float> LoadVector(const float* values) {
  Vector<float> vector;
  __builtin_memcpy(&vector, values, sizeof(vector));
  return vector;
}

inline Vector<double> LoadVector(const double* values) {
  Vector<double> vector;
  __builtin_memcpy(&vector, values, sizeof(vector));
  return vector;
}

typedef uint16_t HalfWords
    __attribute__((vector_size(TF_APPROXGRAD_VECTOR_BYTES / 2)));
typedef uint32_t Words __attribute__((vector_size(TF_APPROXGRAD_VECTOR_BYTES)));

inline Words LoadHalfWords(const void* values) {
  HalfWords half_words;
  __builtin_memcpy(&half_words, values, sizeof(half_words));
  return __builtin_convertvector(half_words, Words);
}

inline Vector<float> LoadVector(const Bfloat16* values) {
  return BitCast<Vector<float>>(LoadHalfWords(values) << 16);
}

// The vector form of Load(Half).
inline Vector<float> LoadVector(const Half* values) {
  constexpr uint32_t kRebias = (127u - 15u) << 23;
  const Words bits = LoadHalfWords(values);
  const Words sign = (bits & 0x8000u) << 16;
  const Words shifted = (bits & 0x7fffu) << 13;
  const Words exponent = shifted & 0x0f800000u;
  const Words special = BitCast<Words>(exponent == 0x0f800000u) & kRebias;
  const Words normal = shifted + kRebias + special;
  const Vector<float> subnormal =
      BitCast<Vector<float>>(shifted + kRebias + (1u << 23)) - 0x1p-14f;
  const Words is_subnormal = BitCast<Words>(exponent == 0u);
  const Words magnitude =
      (BitCast<Words>(subnormal) & is_subnormal) | (normal & ~is_subnormal);
  return BitCast<Vector<float>>(magnitude | sign);
}

template <typename V, typename Accumulator>
inline void StoreVector(V vector, Accumulator* values) {
  __builtin_memcpy(values, &vector, sizeof(vector));
}

// The first `count` lanes; there may be fewer.
inline void StoreLanes(Vector<float> vector, int64_t count, float* values) {
  if (count >= kLanes<float>) {
    StoreVector(vector, values);
  } else {
    float lanes[kLanes<float>];
    StoreVector(vector, lanes);
    for (int64_t lane = 0; lane < count; ++lane) values[lane] = lanes[lane];
  }
}

// Rounds each lane to the type of `out`.
template <typename T, typename Accumulator>
inline void StoreAs(Vector<Accumulator> vector, T* out) {
  Accumulator values[kLanes<Accumulator>];
  StoreVector(vector, values);
  for (int lane = 0; lane < kLanes<Accumulator>; ++lane) {
    out[lane] = Store<T>(values[lane]);
  }
}

template <typename Accumulator>
inline Vector<Accumulator> Broadcast(Accumulator value) {
  // One instruction; setting lane after lane becomes one for each lane. Less
  // zero is the value itself, whatever it is.
  return value - Vector<Accumulator>{};
}

template <typename Accumulator>
inline Vector<Accumulator> Magnitudes(Vector<Accumulator> vector) {
  return BitCast<Vector<Accumulator>>(BitCast<Integers<Accumulator>>(vector) &
                                      VectorOf<Accumulator>::kMagnitudeBits);
}

template <typename Accumulator>
inline Accumulator Magnitude(Accumulator value) {
  return value < 0 ? -value : value;
}

// Keeps an address in a register of its own. Otherwise the compiler computes
// all addresses of an unrolled loop at once, or adds the distance of two rows
// inside each multiply-add, which the processor then splits from its load: a
// quarter slower.
template <typename T>
inline __attribute__((always_inline)) T* InRegister(T* address) {
  asm("" : "+r"(address));
  return address;
}

// The result of a comparison, lane by lane: a register of its own in AVX-512,
// a vector of zeros and ones elsewhere. Written with the compiler's own vector
// comparison, AVX-512's masks take a detour through vectors.
#if defined(__x86_64__) && TF_APPROXGRAD_VECTOR_BYTES == 64
template <typename Accumulator>
struct MaskOf {
  using Mask = __mmask16;
};
template <>
struct MaskOf<double> {
  using Mask = __mmask8;
};

inline __mmask16 Greater(Vector<float> a, Vector<float> b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
inline __mmask8 Greater(Vector<double> a, Vector<double> b) {
  return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ);
}
inline Vector<float> Select(__mmask16 mask, Vector<float> yes,
                            Vector<float> no) {
  return _mm512_mask_blend_ps(mask, no, yes);
}
inline Vector<double> Select(__mmask8 mask, Vector<double> yes,
                             Vector<double> no) {
  return _mm512_mask_blend_pd(mask, no, yes);
}
inline Integers<float> Select(__mmask16 mask, Integers<float> yes,
                              Integers<float> no) {
  return BitCast<Integers<float>>(_mm512_mask_blend_epi32(
      mask, BitCast<__m512i>(no), BitCast<__m512i>(yes)));
}
inline Integers<double> Select(__mmask8 mask, Integers<double> yes,
                               Integers<double> no) {
  return BitCast<Integers<double>>(_mm512_mask_blend_epi64(
      mask, BitCast<__m512i>(no), BitCast<__m512i>(yes)));
}
template <typename Mask>
inline bool AnyLane(Mask mask) {
  return mask != 0;
}
#else
template <typename Accumulator>
struct MaskOf {
  using Mask = Integers<Accumulator>;
};

template <typename Vector>
inline auto Greater(Vector a, Vector b) {
  return a > b;
}
template <typename Mask, typename Vector>
inline Vector Select(Mask mask, Vector yes, Vector no) {
  return mask ? yes : no;
}
template <typename Mask>
inline bool AnyLane(Mask mask) {
#if defined(__x86_64__) && TF_APPROXGRAD_VECTOR_BYTES == 32
  return _mm256_movemask_epi8(BitCast<__m256i>(mask)) != 0;
#elif defined(__x86_64__)
  return _mm_movemask_epi8(BitCast<__m128i>(mask)) != 0;
#else
  uint64_t words[sizeof(mask) / 8];
  __builtin_memcpy(words, &mask, sizeof(mask));
  uint64_t any = 0;
  for (uint64_t word : words) any |= word;
  return any != 0;
#endif
}
#endif

template <typename Accumulator>
using Mask = typename MaskOf<Accumulator>::Mask;

// Of two vectors, each cut into pieces of kStep lanes: the even pieces of both,
// or the odd ones, a's before b's by turns.
template <int kStep, bool kOdd, typename V, size_t... kLane>
inline V InterleavePieces(V a, V b, std::index_sequence<kLane...>) {
  constexpr size_t kWidth = sizeof...(kLane);
#define TF_APPROXGRAD_SOURCE_LANE                        \
  ((kLane & kStep) ? kWidth + kLane - (kOdd ? 0 : kStep) \
                   : kLane + (kOdd ? kStep : 0))
#if defined(__clang__)
  return __builtin_shufflevector(a, b, TF_APPROXGRAD_SOURCE_LANE...);
#else
  typedef decltype(a > b) Lanes;
  return __builtin_shuffle(a, b, Lanes{TF_APPROXGRAD_SOURCE_LANE...});
#endif
#undef TF_APPROXGRAD_SOURCE_LANE
}

template <int kStep, typename Accumulator>
inline __attribute__((always_inline)) void TransposePieces(
    Vector<Accumulator>* rows) {
  constexpr int kWidth = kLanes<Accumulator>;
  using Indices = std::make_index_sequence<kWidth>;
  if constexpr (kStep < kWidth) {
#pragma GCC unroll 16
    for (int row = 0; row < kWidth; ++row) {
      if (row & kStep) continue;
      const Vector<Accumulator> a = rows[row];
      const Vector<Accumulator> b = rows[row + kStep];
      rows[row] = InterleavePieces<kStep, false>(a, b, Indices{});
      rows[row + kStep] = InterleavePieces<kStep, true>(a, b, Indices{});
    }
    TransposePieces<2 * kStep, Accumulator>(rows);
  }
}

// Transposes a square of as many vectors as one has lanes: pieces of 1, 2, 4,
// ... lanes change places with those of the row that is as far away.
template <typename Accumulator>
inline __attribute__((always_inline)) void Transpose(
    Vector<Accumulator>* rows) {
  TransposePieces<1, Accumulator>(rows);
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_CORE_VECTORS_INL_H_
