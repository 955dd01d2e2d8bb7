// The row-sampled method's CUDA kernels against the processor's, to the bit:
// the draw, the gathered patches and the weighted rows, in both layouts; and
// the product of the two against a double-precision reference.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/rows/gathered_rows.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cuda/rows/sampling.h"
#include "cc/tests/check.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/common/rows_reference.h"
#include "cc/tests/cpu/runs.h"
#include "cc/tests/cuda/device_array.h"
#include "cc/tests/cuda/test_device.h"

namespace tf_approxgrad {
namespace {

constexpr double kUniform = 0.3;
constexpr Layout kLayouts[] = {Layout::kNHWC, Layout::kNCHW};

template <typename T>
struct Sampled {
  using Accumulator = typename AccumulatorOf<T>::type;

  Sampled(const ConvGeometry& g, const RowSampling& sampling)
      : patches(sampling.draws * g.filter_size()),
        rows(sampling.draws * g.out_depth) {}

  // All bits, of NaN too.
  bool operator==(const Sampled& other) const {
    const auto same = [](const auto& a, const auto& b) {
      return std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
    };
    return drawn == other.drawn && same(patches, other.patches) &&
           same(rows, other.rows);
  }

  std::vector<int64_t> drawn;
  std::vector<Accumulator> patches, rows;
};

std::string DescribeRows(const ConvGeometry& g, const RowSampling& sampling,
                         size_t type_size, bool aligned) {
  return Describe(g) + ", " + std::to_string(type_size) +
         " bytes an element, " + std::to_string(sampling.draws) + " draws" +
         (sampling.by_product ? ", product" : "") +
         (sampling.keep_largest ? ", largest kept" : "") +
         (aligned ? "" : ", not aligned");
}

template <typename T>
Sampled<T> SampleOnCpu(const ConvGeometry& g, const RowSampling& sampling,
                       const std::vector<T>& x, const std::vector<T>& dy) {
  const GatheredRows<T> samples(
      g, sampling, KernelsFor<RowsKernels<T>>(ChosenInstructionSet()));
  const AlignedMemory scratch(samples.scratch_bytes());
  Sampled<T> sampled(g, sampling);
  const DrawnRows rows =
      samples.Compute(kUniform, x.data(), dy.data(), scratch.data,
                      sampled.patches.data(), sampled.rows.data());
  sampled.drawn.assign(rows.drawn, rows.drawn + rows.count);
  return sampled;
}

// Checked to be the same in every repeat.
template <typename T>
Sampled<T> SampleOnGpu(const ConvGeometry& g, const RowSampling& sampling,
                       const std::vector<T>& x, const std::vector<T>& dy,
                       bool aligned) {
  const std::string what = DescribeRows(g, sampling, sizeof(T), aligned);
  const CudaRowSampling<T> sampler(g, sampling);
  Check(CudaRowSamplingProblem(g, sampling.draws).empty(), what);
  const int skipped = aligned ? 0 : 1;
  const DeviceArray<T> input(x, skipped), out_backprop(dy, skipped);
  DeviceArray<char> scratch(sampler.scratch_bytes());
  Sampled<T> sampled(g, sampling);
  using Accumulator = typename Sampled<T>::Accumulator;
  DeviceArray<Accumulator> patches(sampled.patches.size(), skipped);
  DeviceArray<Accumulator> rows(sampled.rows.size(), skipped);
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    StartRepeat(repeat);
    scratch.Clear();
    patches.Clear();
    rows.Clear();
    Must(sampler.Compute(kUniform, input.get(), out_backprop.get(),
                         scratch.get(), patches.get(), rows.get(), nullptr),
         what.c_str());
    Must(cudaDeviceSynchronize(), what.c_str());
    Sampled<T> now(g, sampling);
    now.patches = patches.Read();
    now.rows = rows.Read();
    RowDraw draw;
    Must(cudaMemcpy(&draw, sampler.draw(scratch.get()), sizeof(draw),
                    cudaMemcpyDeviceToHost),
         "copying the draw");
    if (draw.is_finite) now.drawn.resize(draw.drawn());
    Must(cudaMemcpy(now.drawn.data(), sampler.drawn(scratch.get()),
                    now.drawn.size() * sizeof(int64_t), cudaMemcpyDeviceToHost),
         "copying the drawn rows");
    if (repeat == 0) sampled = now;
    Check(now == sampled, what + ": other bits in another run");
  }
  return sampled;
}

// Values of many magnitudes, whose sums round; a row in four is zero.
template <typename T>
std::vector<T> UnevenValues(const ConvGeometry& g) {
  std::mt19937 generator(9);
  std::lognormal_distribution<double> magnitude(0, 1.5);
  std::vector<T> dy(g.output_size());
  for (int64_t row = 0; row < g.batch * g.positions(); ++row) {
    if (generator() % 4 == 0) continue;
    const double size = magnitude(generator);
    for (int64_t co = 0; co < g.out_depth; ++co) {
      const double sign = generator() % 2 ? 1 : -1;
      dy[OutputIndex(g, row, co)] =
          Store<T>(static_cast<typename AccumulatorOf<T>::type>(
              sign * size * magnitude(generator)));
    }
  }
  return dy;
}

template <typename T>
void TestSamplesWhatTheCpuDoes(const ConvGeometry& g,
                               const RowSampling& sampling,
                               std::vector<bool> alignments = {true, false}) {
  std::mt19937 generator(7);
  std::vector<double> exact;
  const auto x = RandomValues<T>(g.input_size(), &generator, &exact);
  const auto dy = UnevenValues<T>(g);
  const auto expected = SampleOnCpu(g, sampling, x, dy);
  Check(!expected.drawn.empty(), Describe(g) + ": nothing is drawn");
  for (const bool aligned : alignments) {
    Check(SampleOnGpu(g, sampling, x, dy, aligned) == expected,
          DescribeRows(g, sampling, sizeof(T), aligned) +
              ": other rows than on the CPU");
  }
}

template <typename T>
void TestProductIsTheReference(const ConvGeometry& g,
                               const RowSampling& sampling) {
  std::mt19937 generator(7);
  std::vector<double> x_exact, dy_exact, magnitudes;
  const auto x = RandomValues<T>(g.input_size(), &generator, &x_exact);
  const auto dy = RandomValues<T>(g.output_size(), &generator, &dy_exact);
  const auto expected = ReferenceRowGradient(g, sampling, 1, kUniform, x_exact,
                                             dy_exact, &magnitudes);
  const auto sampled = SampleOnGpu(g, sampling, x, dy, true);
  std::vector<double> product(expected.size());
  for (int64_t place = 0; place < sampling.draws; ++place) {
    for (int64_t i = 0; i < g.filter_size(); ++i) {
      for (int64_t co = 0; co < g.out_depth; ++co) {
        product[i * g.out_depth + co] +=
            static_cast<double>(sampled.patches[place * g.filter_size() + i]) *
            static_cast<double>(sampled.rows[place * g.out_depth + co]);
      }
    }
  }
  CheckAgrees(product, expected, magnitudes, 1e-12,
              DescribeRows(g, sampling, sizeof(T), true));
}

void TestZerosGiveZeros(const ConvGeometry& g, const RowSampling& sampling) {
  const std::vector<float> x(g.input_size(), INFINITY), dy(g.output_size());
  const auto sampled = SampleOnGpu(g, sampling, x, dy, true);
  Check(sampled == Sampled<float>(g, sampling),
        DescribeRows(g, sampling, 4, true) + ": zeros don't give zeros");
}

template <typename T>
void TestNonFiniteShows(const ConvGeometry& g, const RowSampling& sampling,
                        float value) {
  const std::vector<T> x(g.input_size());
  auto dy = UnevenValues<T>(g);
  dy[OutputIndex(g, g.batch * g.positions() / 2, g.out_depth - 1)] =
      Store<T>(value);
  const auto sampled = SampleOnGpu(g, sampling, x, dy, true);
  bool shows = sampled.drawn.empty();
  for (const auto row : sampled.rows) shows = shows && std::isnan(row);
  for (const auto patch : sampled.patches) shows = shows && patch == 0;
  Check(shows, DescribeRows(g, sampling, sizeof(T), true) +
                   ": a NaN or infinity is hidden");
}

// More groups than a block has threads, and more than one of everything else; a
// block gathers places in turns.
void TestManyGroups() {
  const Problem problem{1, 750, 710, 1, 1, 1, 1};
  const ConvGeometry g = GeometryOf(problem, Layout::kNHWC);
  Check(RowGroups(g.positions()) > kRowBlock, "too few groups");
  TestSamplesWhatTheCpuDoes<float>(g, {9001, true, true}, {true});
}

void TestSizesBeyondAGpuAreRefused() {
  ConvGeometry g = GeometryOf({1, 1, 1, 1, 1, 1, 1}, Layout::kNHWC);
  Check(CudaRowSamplingProblem(g, INT32_MAX).empty(), "draws are refused");
  Check(CudaRowSamplingProblem(g, int64_t{1} << 31) ==
            "draws is 2147483648, but it must be less than 2^31 on a GPU",
        "too many draws");
  g.batch = int64_t{1} << 38;
  Check(!CudaRowSamplingProblem(g, 1).empty(), "too many rows");
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  TestDevice();
  TestSizesBeyondAGpuAreRefused();
  for (const Problem& problem : kProblems) {
    for (const Layout layout : kLayouts) {
      const ConvGeometry g = GeometryOf(problem, layout);
      const int64_t rows = g.batch * g.positions();
      // TestManyGroups is enough for the emulated GPU.
      if (kEmulated && rows > 5000) continue;
      const auto draws = [&](int64_t percent) {
        return std::max<int64_t>(1, rows * percent / 100);
      };
      TestSamplesWhatTheCpuDoes<float>(g, {1, false, false});
      TestSamplesWhatTheCpuDoes<float>(g, {draws(12), true, true});
      TestSamplesWhatTheCpuDoes<float>(g, {draws(90), false, true});
      TestSamplesWhatTheCpuDoes<double>(g, {draws(30), true, false});
      TestSamplesWhatTheCpuDoes<Bfloat16>(g, {draws(30), false, true});
      TestSamplesWhatTheCpuDoes<Half>(g, {draws(12), false, false});
      TestProductIsTheReference<float>(g, {draws(12), false, false});
      TestProductIsTheReference<double>(g, {draws(30), true, true});
      for (const bool keep_largest : {false, true}) {
        TestZerosGiveZeros(g, {draws(12), false, keep_largest});
        TestNonFiniteShows<float>(g, {1, !keep_largest, keep_largest}, NAN);
        TestNonFiniteShows<Half>(g, {1, false, keep_largest}, INFINITY);
      }
    }
  }
  TestManyGroups();
  return FailedChecks("cuda/rows/sampling_test");
}
