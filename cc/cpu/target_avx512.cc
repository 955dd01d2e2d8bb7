// The kernels for x86-64 with AVX-512.

#if defined(__x86_64__)
#define TF_APPROXGRAD_COMPILE_AVX512
#include "cc/cpu/kernels-inl.h"
#endif
