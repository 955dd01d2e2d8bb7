// The processor for which a translation unit compiles the code of the -inl.h
// files: for the CPU one instruction set, in a namespace of its own.
//
// One source becomes SSE2, AVX2, AVX-512, NEON or a GPU's code. Each
// instruction set has one translation unit, cc/cpu/target_*.cc, which names it
// by TF_APPROXGRAD_COMPILE_AVX2 or TF_APPROXGRAD_COMPILE_AVX512 before all
// includes. Without a name it is the compiler's default, in which an editor
// parses a file by itself.
//
// What lies between TF_APPROXGRAD_BEGIN_TARGET and _END_TARGET may use the
// set's instructions; the headers that a file includes lie outside. So the
// linker, which keeps one copy of an inline function, can't pick one with wide
// instructions for code that must run without. All names between them are
// internal to the translation unit.

#ifndef TF_APPROXGRAD_CC_COMMON_TARGET_H_
#define TF_APPROXGRAD_CC_COMMON_TARGET_H_

#if defined(__CUDACC__)
#define TF_APPROXGRAD_TARGET gpu
#elif defined(TF_APPROXGRAD_COMPILE_AVX512)
#define TF_APPROXGRAD_TARGET avx512
#define TF_APPROXGRAD_VECTOR_BYTES 64
#define TF_APPROXGRAD_FEATURES "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"
#define TF_APPROXGRAD_TUNING "prefer-vector-width=512"
#elif defined(TF_APPROXGRAD_COMPILE_AVX2)
#define TF_APPROXGRAD_TARGET avx2
#define TF_APPROXGRAD_VECTOR_BYTES 32
#define TF_APPROXGRAD_FEATURES "avx2,fma"
#else
#define TF_APPROXGRAD_TARGET baseline
#define TF_APPROXGRAD_VECTOR_BYTES 16
#endif

#define TF_APPROXGRAD_PRAGMA_OF_TEXT(...) _Pragma(#__VA_ARGS__)
#define TF_APPROXGRAD_PRAGMA(...) TF_APPROXGRAD_PRAGMA_OF_TEXT(__VA_ARGS__)
// Lets a macro that ends in pragmas take a semicolon.
#define TF_APPROXGRAD_SEMICOLON static_assert(true, "")

// TF_APPROXGRAD_BEGIN_TARGET_WITHOUT_FMA rounds a product before it is added,
// and lets loops over arrays have vectors as wide as the set's.
#if defined(__CUDACC__)
#define TF_APPROXGRAD_BEGIN_TARGET() TF_APPROXGRAD_SEMICOLON
#define TF_APPROXGRAD_BEGIN_TARGET_WITHOUT_FMA() TF_APPROXGRAD_SEMICOLON
#define TF_APPROXGRAD_END_TARGET() TF_APPROXGRAD_SEMICOLON
#elif defined(__clang__)
#if defined(TF_APPROXGRAD_FEATURES)
#define TF_APPROXGRAD_BEGIN_TARGET()                                         \
  TF_APPROXGRAD_PRAGMA(clang attribute push(                                 \
      __attribute__((target(TF_APPROXGRAD_FEATURES))), apply_to = function)) \
  TF_APPROXGRAD_SEMICOLON
#define TF_APPROXGRAD_POP_TARGET() TF_APPROXGRAD_PRAGMA(clang attribute pop)
#else
#define TF_APPROXGRAD_BEGIN_TARGET() TF_APPROXGRAD_SEMICOLON
#define TF_APPROXGRAD_POP_TARGET()
#endif
#define TF_APPROXGRAD_BEGIN_TARGET_WITHOUT_FMA() \
  TF_APPROXGRAD_PRAGMA(clang fp contract(off))   \
  TF_APPROXGRAD_BEGIN_TARGET()
#define TF_APPROXGRAD_END_TARGET()            \
  TF_APPROXGRAD_POP_TARGET()                  \
  TF_APPROXGRAD_PRAGMA(clang fp contract(on)) \
  TF_APPROXGRAD_SEMICOLON
#else
#if defined(TF_APPROXGRAD_FEATURES)
#define TF_APPROXGRAD_SET_FEATURES() \
  TF_APPROXGRAD_PRAGMA(GCC target(TF_APPROXGRAD_FEATURES))
#else
#define TF_APPROXGRAD_SET_FEATURES()
#endif
#if defined(TF_APPROXGRAD_TUNING)
#define TF_APPROXGRAD_SET_TUNING() \
  TF_APPROXGRAD_PRAGMA(GCC target(TF_APPROXGRAD_TUNING))
#else
#define TF_APPROXGRAD_SET_TUNING()
#endif
#define TF_APPROXGRAD_BEGIN_TARGET()     \
  TF_APPROXGRAD_PRAGMA(GCC push_options) \
  TF_APPROXGRAD_SET_FEATURES()           \
  TF_APPROXGRAD_SEMICOLON
#define TF_APPROXGRAD_BEGIN_TARGET_WITHOUT_FMA()        \
  TF_APPROXGRAD_PRAGMA(GCC push_options)                \
  TF_APPROXGRAD_PRAGMA(GCC optimize("fp-contract=off")) \
  TF_APPROXGRAD_SET_FEATURES()                          \
  TF_APPROXGRAD_SET_TUNING()                            \
  TF_APPROXGRAD_SEMICOLON
#define TF_APPROXGRAD_END_TARGET()      \
  TF_APPROXGRAD_PRAGMA(GCC pop_options) \
  TF_APPROXGRAD_SEMICOLON
#endif

#endif  // TF_APPROXGRAD_CC_COMMON_TARGET_H_
