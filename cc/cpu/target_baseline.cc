// The kernels for every processor that the compiler's default target has: SSE2
// on x86-64, NEON on aarch64.

#include "cc/cpu/kernels-inl.h"
