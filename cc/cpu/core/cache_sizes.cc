#include "cc/cpu/core/cache_sizes.h"

#include <unistd.h>

#include <algorithm>

namespace tf_approxgrad {
namespace {

// Beyond these a virtual machine reports what it doesn't have for itself.
constexpr int64_t kMostLevel1 = 128 * 1024;
constexpr int64_t kMostLevel2 = 2 * 1024 * 1024;

CacheSizes Detect() {
  CacheSizes sizes;
#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
  const int64_t level1 = sysconf(_SC_LEVEL1_DCACHE_SIZE);
  const int64_t level2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (level1 > 0) sizes.level1 = std::min(level1, kMostLevel1);
  if (level2 > level1) sizes.level2 = std::min(level2, kMostLevel2);
#endif
  return sizes;
}

}  // namespace

CacheSizes DetectedCacheSizes() {
  static const CacheSizes sizes = Detect();
  return sizes;
}

}  // namespace tf_approxgrad
