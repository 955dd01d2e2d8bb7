#include "cc/kernels/random_normal.h"

#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif
#define TF_APPROXGRAD_TARGET baseline
#include "cc/kernels/random_normal_impl.h"
