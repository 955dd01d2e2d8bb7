// How the standalone tests run a gradient of the CPU, and compare it.

#ifndef TF_APPROXGRAD_CC_TESTS_CPU_RUNS_H_
#define TF_APPROXGRAD_CC_TESTS_CPU_RUNS_H_

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "cc/common/float_types.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/tests/check.h"

namespace tf_approxgrad {

// One worker after the other, as when no thread is free.
inline void RunOneByOne(int64_t workers, const std::function<void()>& work) {
  for (int64_t worker = 0; worker < workers; ++worker) work();
}

inline void RunTogether(int64_t workers, const std::function<void()>& work) {
  std::vector<std::thread> threads;
  for (int64_t worker = 0; worker < workers; ++worker) {
    threads.emplace_back(work);
  }
  for (std::thread& thread : threads) thread.join();
}

// As TensorFlow's allocator gives it: aligned, and not cleared.
struct AlignedMemory {
  explicit AlignedMemory(size_t bytes) {
    if (posix_memalign(&data, 64, bytes) != 0) std::abort();
    std::memset(data, 0xff, bytes);
  }
  AlignedMemory(const AlignedMemory&) = delete;
  ~AlignedMemory() { std::free(data); }

  void* data = nullptr;
};

inline std::vector<InstructionSet> InstructionSets() {
  std::vector<InstructionSet> sets;
  for (const auto set : {InstructionSet::kBaseline, InstructionSet::kAvx2,
                         InstructionSet::kAvx512}) {
    if (set <= ChosenInstructionSet()) sets.push_back(set);
  }
  return sets;
}

// `magnitudes` are what the sums of the elements could have rounded.
template <typename T>
void CheckAgrees(const std::vector<T>& result,
                 const std::vector<double>& expected,
                 const std::vector<double>& magnitudes, double epsilon,
                 const std::string& what) {
  for (size_t i = 0; i < result.size(); ++i) {
    const double value = static_cast<double>(Load(result[i]));
    const double tolerance =
        epsilon * std::abs(expected[i]) + 1e-5 * magnitudes[i] + 1e-6;
    if (!(std::abs(value - expected[i]) <= tolerance)) {
      Check(false, what + ": element " + std::to_string(i) + " is " +
                       std::to_string(value) + ", not " +
                       std::to_string(expected[i]));
      break;
    }
  }
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_CPU_RUNS_H_
