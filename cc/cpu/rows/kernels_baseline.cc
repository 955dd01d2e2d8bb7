#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <utility>

#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/core/scratch_layout.h"

#define TF_APPROXGRAD_TARGET baseline
#define TF_APPROXGRAD_VECTOR_BYTES 16
#include "cc/cpu/rows/kernels-inl.h"
