// The kernels for x86-64 with AVX2 and FMA.

#if defined(__x86_64__)
#define TF_APPROXGRAD_COMPILE_AVX2
#include "cc/cpu/kernels-inl.h"
#endif
