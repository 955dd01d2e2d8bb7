// Vectors of TF_APPROXGRAD_VECTOR_BYTES, in the compiler's own vector types.
//
// Included once for each instruction set, inside its namespace: the same
// source becomes SSE2, AVX2, AVX-512 or NEON. It defines no external symbol
// and calls no function template of the standard library, so that the linker
// can't pick a copy with wide instructions for code that must run without.

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

// Whether any lane of a comparison's result is set.
template <typename Mask>
inline bool AnyLane(Mask mask) {
#if defined(__x86_64__) && TF_APPROXGRAD_VECTOR_BYTES == 64
  const __m512i bits = BitCast<__m512i>(mask);
  return _mm512_test_epi64_mask(bits, bits) != 0;
#elif defined(__x86_64__) && TF_APPROXGRAD_VECTOR_BYTES == 32
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
