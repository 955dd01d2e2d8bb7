#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <utility>

#include "cc/kernels/row_kernels.h"
#include "cc/kernels/scratch_layout.h"

#define TF_APPROXGRAD_TARGET baseline
#define TF_APPROXGRAD_VECTOR_BYTES 16
#include "cc/kernels/row_kernels_impl.h"
