// Times the generator of normal numbers by itself, on one thread, and compares
// the instruction sets' numbers. CONTRIBUTING.md says how to compile it.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "cc/common/normal_numbers.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/random/kernels.h"

int main() {
  using tf_approxgrad::InstructionSet;
  constexpr int64_t kSize = 3 * 3 * 256 * 256;
  const auto widest = tf_approxgrad::ChosenInstructionSet();
  std::vector<float> first;
  for (const auto set : {InstructionSet::kBaseline, InstructionSet::kAvx2,
                         InstructionSet::kAvx512}) {
    if (set > widest) break;
    std::vector<float> normals(kSize);
    const auto fill =
        tf_approxgrad::KernelsFor<tf_approxgrad::RandomKernels<float>>(set)
            .fill_normal;
    double best = 1e9;
    for (int repeat = 0; repeat < 50; ++repeat) {
      const auto start = std::chrono::steady_clock::now();
      fill({7, 3, static_cast<uint64_t>(repeat % 2)}, 1.0, 0,
           tf_approxgrad::NormalGroups(kSize), kSize, normals.data());
      const std::chrono::duration<double> seconds =
          std::chrono::steady_clock::now() - start;
      best = std::min(best, seconds.count());
    }
    if (first.empty()) first = normals;
    const bool same =
        std::memcmp(first.data(), normals.data(), kSize * sizeof(float)) == 0;
    std::printf("%-8s %6.3f ns a number, %5.2f GB/s, %s numbers\n",
                tf_approxgrad::InstructionSetName(set).c_str(),
                1e9 * best / kSize, 4e-9 * kSize / best,
                same ? "the same" : "OTHER");
  }
  return 0;
}
