#if defined(__x86_64__)
#include <immintrin.h>

#include <utility>

#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/core/scratch_layout.h"

#if defined(__clang__)
#pragma clang attribute push(                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif
#define TF_APPROXGRAD_TARGET avx512
#define TF_APPROXGRAD_VECTOR_BYTES 64
#include "cc/cpu/rows/kernels-inl.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif  // defined(__x86_64__)
