// What the benchmarks that time the kernels by themselves have in common.

#ifndef TF_APPROXGRAD_CC_BENCHMARKS_MEASURING_H_
#define TF_APPROXGRAD_CC_BENCHMARKS_MEASURING_H_

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "cc/common/geometry.h"

namespace tf_approxgrad {

// Processor time, so that a busy machine matters little.
inline double ThreadMilliseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1e3 + now.tv_nsec * 1e-6;
}

// Aligned to cache lines, as TensorFlow's tensors are.
struct Free {
  void operator()(float* values) const { std::free(values); }
};
using Values = std::unique_ptr<float[], Free>;

inline Values MakeValues(int64_t count) {
  constexpr int64_t kLine = 64;
  const int64_t bytes = count * static_cast<int64_t>(sizeof(float));
  return Values(static_cast<float*>(
      std::aligned_alloc(kLine, (bytes / kLine + 1) * kLine)));
}

inline Values RandomValues(int64_t count, int seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Values values = MakeValues(count);
  for (int64_t i = 0; i < count; ++i) values[i] = normal(generator);
  return values;
}

inline double Median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// 34 characters, without the line's end.
inline void PrintShape(const ConvGeometry& g) {
  std::printf("%4d x %4d -> %4d @ %3d, %dx%d / %d", static_cast<int>(g.batch),
              static_cast<int>(g.in_depth), static_cast<int>(g.out_depth),
              static_cast<int>(g.in_rows), static_cast<int>(g.filter_rows),
              static_cast<int>(g.filter_cols), static_cast<int>(g.stride_rows));
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_BENCHMARKS_MEASURING_H_
