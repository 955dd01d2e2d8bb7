#include "cc/cpu/random/fill_normal.h"

#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif
#define TF_APPROXGRAD_TARGET baseline
#include "cc/cpu/random/fill_normal-inl.h"
