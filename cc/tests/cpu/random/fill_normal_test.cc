// The generator of normal numbers: the same bits from every instruction set and
// every split, nothing written beyond the end, and the moments of a normal
// distribution. tests/test_random_op.py compares the numbers themselves with
// their description.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cc/common/float_types.h"
#include "cc/common/normal_numbers.h"
#include "cc/common/random_stream.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/random/kernels.h"
#include "cc/tests/check.h"

namespace tf_approxgrad {
namespace {

template <typename T>
std::vector<T> Fill(const RandomStream& stream, int64_t size, int64_t parts,
                    InstructionSet set) {
  std::vector<T> values(size);
  const int64_t groups = NormalGroups(size);
  for (int64_t part = 0; part < parts; ++part) {
    KernelsFor<RandomKernels<T>>(set).fill_normal(
        stream, 2.0, groups * part / parts, groups * (part + 1) / parts, size,
        values.data());
  }
  return values;
}

template <typename T>
void TestSameBitsHoweverMade(int64_t size) {
  const RandomStream stream{0x123456789abcdefull, 5, 1ull << 33};
  const auto expected = Fill<T>(stream, size, 1, InstructionSet::kBaseline);
  for (const auto set : {InstructionSet::kBaseline, InstructionSet::kAvx2,
                         InstructionSet::kAvx512}) {
    if (set > ChosenInstructionSet()) break;
    for (const int64_t parts : {1, 2, 7}) {
      const auto values = Fill<T>(stream, size, parts, set);
      Check(std::memcmp(values.data(), expected.data(), size * sizeof(T)) == 0,
            InstructionSetName(set) + ", " + std::to_string(size) +
                " numbers in " + std::to_string(parts) + " parts: other bits");
    }
  }
}

void TestMomentsAreNormal() {
  constexpr int64_t kSize = 1 << 20;
  const auto values = Fill<float>({1, 2, 3}, kSize, 1, ChosenInstructionSet());
  double sum = 0, square = 0, fourth = 0;
  for (const float value : values) {
    Check(std::isfinite(value), "a number isn't finite");
    const double z = value / 2.0;
    sum += z;
    square += z * z;
    fourth += z * z * z * z;
  }
  const double root = std::sqrt(static_cast<double>(kSize));
  Check(std::abs(sum / kSize) < 4 / root, "the mean isn't 0");
  Check(std::abs(square / kSize - 1) < 4 * std::sqrt(2.0) / root,
        "the variance isn't 1");
  Check(std::abs(fourth / kSize - 3) < 4 * std::sqrt(96.0) / root,
        "the fourth moment isn't 3");
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  for (const int64_t size : {1, 63, 64, 255, 256, 257, 5000}) {
    TestSameBitsHoweverMade<float>(size);
    TestSameBitsHoweverMade<double>(size);
    TestSameBitsHoweverMade<Bfloat16>(size);
    TestSameBitsHoweverMade<Half>(size);
  }
  TestMomentsAreNormal();
  return FailedChecks("cpu/random/fill_normal_test");
}
