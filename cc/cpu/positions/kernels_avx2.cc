#if defined(__x86_64__)
#include <immintrin.h>

#include <utility>

#include "cc/cpu/positions/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define TF_APPROXGRAD_TARGET avx2
#define TF_APPROXGRAD_VECTOR_BYTES 32
#include "cc/cpu/positions/kernels-inl.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif  // defined(__x86_64__)
