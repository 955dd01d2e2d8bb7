#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <utility>

#include "cc/cpu/positions/kernels.h"

#define TF_APPROXGRAD_TARGET baseline
#define TF_APPROXGRAD_VECTOR_BYTES 16
#include "cc/cpu/positions/kernels-inl.h"
