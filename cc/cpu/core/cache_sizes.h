// The sizes of a core's data caches, for which the work is cut.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_CACHE_SIZES_H_
#define TF_APPROXGRAD_CC_CPU_CORE_CACHE_SIZES_H_

#include <cstdint>

namespace tf_approxgrad {

// In bytes.
struct CacheSizes {
  int64_t level1 = 32 * 1024;
  int64_t level2 = 1024 * 1024;
};

// What the system says of this machine, and the sizes above where it doesn't.
CacheSizes DetectedCacheSizes();

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_CACHE_SIZES_H_
