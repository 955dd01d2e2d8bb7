// The Winograd input gradient against a double-precision reference, as
// filter_gradient_test.cc has it.

#include "cc/cpu/winograd/input_gradient.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/tests/check.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/cpu/runs.h"
#include "cc/tests/cpu/winograd/cases.h"

namespace tf_approxgrad {
namespace {

int64_t FilterElements(const ConvGeometry& g) {
  return g.filter_size() * g.out_depth;
}

std::vector<double> Reference(const ConvGeometry& g,
                              const std::vector<float>& filters,
                              const std::vector<float>& dy) {
  std::vector<double> gradient(g.input_size());
  for (int64_t n = 0; n < g.batch; ++n) {
    for (int64_t p = 0; p < g.positions(); ++p) {
      const float* y = dy.data() + (n * g.positions() + p) * g.out_depth;
      for (int64_t ci = 0; ci < g.in_depth; ++ci) {
        ForEachTap(g, n, p, ci, [&](int64_t tap, int64_t at) {
          const float* taps =
              filters.data() + (tap * g.in_depth + ci) * g.out_depth;
          for (int64_t co = 0; co < g.out_depth; ++co) {
            gradient[at] += static_cast<double>(taps[co]) * y[co];
          }
        });
      }
    }
  }
  return gradient;
}

std::vector<float> Compute(const ConvGeometry& g,
                           const std::vector<float>& filters,
                           const std::vector<float>& dy, int64_t threads,
                           InstructionSet set) {
  const WinogradInputGradient gradient(g, threads, set);
  const AlignedMemory scratch(gradient.scratch_bytes());
  std::vector<float> result(g.input_size(), NAN);
  gradient.Compute(filters.data(), dy.data(), scratch.data, result.data(),
                   threads % 2 == 0 ? RunTogether : RunOneByOne);
  return result;
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  TestAllCases(
      {Compute, Reference, FilterElements},
      {Convolution(7, 45, 47, 12, 20, 1, 1),
       Convolution(3, 14, 14, 100, 66, 1, 1),
       Convolution(40, 7, 6, 100, 130, 1, 1),
       Convolution(40, 2, 2, 70, 40, 1, 1), Convolution(1, 1, 300, 8, 8, 1, 1),
       Convolution(5, 9, 9, 20, 300, 1, 1),
       // By panels of channels, but with 8 threads by blocks of tiles.
       Convolution(3, 7, 6, 100, 300, 1, 1)});
  return FailedChecks("cpu/winograd/input_gradient_test");
}
