// How many threads a piece of work is worth.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_USEFUL_WORKERS_H_
#define TF_APPROXGRAD_CC_CPU_CORE_USEFUL_WORKERS_H_

#include <algorithm>
#include <cstdint>

namespace tf_approxgrad {

// `work` is in elements read and multiply-adds, 16 of them a vector operation.
// Waking another thread pays from 20,000 vector operations on.
inline int64_t UsefulWorkers(double work, int64_t threads) {
  constexpr double kWorkOfThread = 16 * 20'000;
  return std::clamp<int64_t>(
      static_cast<int64_t>(std::min(work / kWorkOfThread, 1e6)), 1, threads);
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_USEFUL_WORKERS_H_
