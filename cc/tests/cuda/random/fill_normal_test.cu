// The random numbers that a GPU draws: the same bits as the processor's.

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
#include "cc/cuda/random/fill_normal.h"
#include "cc/tests/check.h"
#include "cc/tests/cuda/test_device.h"

namespace tf_approxgrad {
namespace {

template <typename T>
void TestSameBitsAsTheProcessor(int64_t size, double stddev) {
  for (const RandomStream& numbers :
       {RandomStream{0, 0, 0}, RandomStream{0x123456789abcdefull, 5, 3},
        RandomStream{~0ull, ~0u, 1ull << 33}}) {
    std::vector<T> expected(size);
    KernelsFor<RandomKernels<T>>(InstructionSet::kBaseline)
        .fill_normal(numbers, stddev, 0, NormalGroups(size), size,
                     expected.data());
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      StartRepeat(repeat);
      DeviceArray<T> output(size, repeat);
      Must(CudaFillNormal<T>(numbers, stddev, size, output.get(), nullptr),
           "CudaFillNormal");
      Must(cudaDeviceSynchronize(), "CudaFillNormal");
      const auto result = output.Read();
      Check(std::memcmp(result.data(), expected.data(), size * sizeof(T)) == 0,
            std::to_string(size) + " numbers of " + std::to_string(sizeof(T)) +
                " bytes are others than the processor's");
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  TestDevice();
  std::vector<int64_t> sizes = {1, 63, 64, 65, 255, 256, 257, 1023, 1024, 5000};
  if (!kEmulated) sizes.push_back(3 * 3 * 512 * 512 + 1);
  for (const int64_t size : sizes) {
    TestSameBitsAsTheProcessor<float>(size, 0.1);
    TestSameBitsAsTheProcessor<double>(size, 0.1);
    TestSameBitsAsTheProcessor<Bfloat16>(size, 0.1);
    TestSameBitsAsTheProcessor<Half>(size, 0.1);
  }
  return FailedChecks("cuda/random/fill_normal_test");
}
