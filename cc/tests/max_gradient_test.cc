// The max method's kernels against a double-precision reference: all types,
// layouts, instruction sets and numbers of workers, over shapes that take every
// path. Needs no TensorFlow. Every buffer has exactly the documented size, so
// that a sanitizer sees the first element too far.

#include "cc/kernels/max_gradient.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cc/tests/check.h"
#include "cc/tests/max_gradient_reference.h"

namespace tf_approxgrad {
namespace {

struct Problem {
  int64_t batch, rows, cols, in_depth, out_depth, filter_rows, filter_cols;
  int64_t stride_rows = 1, stride_cols = 1;
  int64_t dilation_rows = 1, dilation_cols = 1;
  // Zeros before and after each axis.
  int64_t top = 0, bottom = 0, left = 0, right = 0;
};

constexpr Problem kProblems[] = {
    {3, 5, 7, 4, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 9, 6, 33, 17, 3, 3, 2, 1, 1, 1, 0, 1, 1, 1},
    {5, 6, 5, 16, 20, 2, 3, 1, 2, 2, 1, 1, 1, 0, 1},
    {2, 8, 9, 48, 5, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2},
    {1, 11, 10, 3, 4, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3},
    {4, 4, 3, 100, 33, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    // Maps of a few positions, whose patches are clipped.
    {40, 2, 2, 32, 18, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {9, 4, 4, 17, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {7, 1, 1, 5, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {6, 3, 2, 8, 7, 5, 4, 1, 1, 1, 1, 2, 2, 1, 2},
    {5, 2, 3, 6, 5, 3, 3, 1, 1, 3, 3, 3, 3, 3, 3},
    // More positions than pixels.
    {40, 1, 1, 5, 6, 3, 3, 1, 1, 1, 1, 2, 2, 2, 2},
    // Few output channels on large maps: X is read where it lies, or patch by
    // patch.
    {2, 40, 38, 32, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 90, 80, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    // Several tiles.
    {20, 30, 28, 16, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
};

ConvGeometry GeometryOf(const Problem& p, Layout layout) {
  ConvGeometry g;
  g.layout = layout;
  g.batch = p.batch;
  g.in_rows = p.rows;
  g.in_cols = p.cols;
  g.in_depth = p.in_depth;
  g.out_depth = p.out_depth;
  g.filter_rows = p.filter_rows;
  g.filter_cols = p.filter_cols;
  g.stride_rows = p.stride_rows;
  g.stride_cols = p.stride_cols;
  g.dilation_rows = p.dilation_rows;
  g.dilation_cols = p.dilation_cols;
  g.pad_top = p.top;
  g.pad_left = p.left;
  g.out_rows =
      (p.rows + p.top + p.bottom - (p.filter_rows - 1) * p.dilation_rows - 1) /
          p.stride_rows +
      1;
  g.out_cols =
      (p.cols + p.left + p.right - (p.filter_cols - 1) * p.dilation_cols - 1) /
          p.stride_cols +
      1;
  return g;
}

std::string Describe(const ConvGeometry& g, int64_t k, size_t type_size) {
  return std::to_string(g.batch) + "x" + std::to_string(g.in_rows) + "x" +
         std::to_string(g.in_cols) + " " + std::to_string(g.in_depth) + "->" +
         std::to_string(g.out_depth) + " " + std::to_string(g.filter_rows) +
         "x" + std::to_string(g.filter_cols) +
         (g.layout == Layout::kNHWC ? " NHWC" : " NCHW") +
         " k=" + std::to_string(k) + ", " + std::to_string(type_size) +
         " bytes an element";
}

// One worker after the other, as when no thread is free.
void RunOneByOne(int64_t workers, const std::function<void()>& work) {
  for (int64_t worker = 0; worker < workers; ++worker) work();
}

void RunTogether(int64_t workers, const std::function<void()>& work) {
  std::vector<std::thread> threads;
  for (int64_t worker = 0; worker < workers; ++worker) {
    threads.emplace_back(work);
  }
  for (std::thread& thread : threads) thread.join();
}

template <typename T>
std::vector<T> Compute(const ConvGeometry& g, int64_t k, double scale,
                       const std::vector<T>& x, const std::vector<T>& dy,
                       int64_t threads, InstructionSet instruction_set) {
  const MaxGradient<T> gradient(g, k, threads, instruction_set);
  // What TensorFlow's allocator gives.
  void* scratch = nullptr;
  if (posix_memalign(&scratch, 64, gradient.scratch_bytes()) != 0) std::abort();
  // What it gives isn't cleared either.
  std::memset(scratch, 0xff, gradient.scratch_bytes());
  std::vector<T> result(g.filter_size() * g.out_depth);
  gradient.Compute(scale, x.data(), dy.data(), scratch, result.data(),
                   threads % 2 == 0 ? RunTogether : RunOneByOne);
  std::free(scratch);
  return result;
}

template <typename T>
std::vector<T> RandomValues(int64_t count, std::mt19937* generator,
                            std::vector<double>* exact) {
  std::normal_distribution<double> normal;
  std::vector<T> values(count);
  exact->resize(count);
  for (int64_t i = 0; i < count; ++i) {
    // Ties, and values that every type holds exactly.
    const double value = std::round(normal(*generator) * 8) / 8;
    values[i] = Store<T>(static_cast<typename AccumulatorOf<T>::type>(value));
    (*exact)[i] = static_cast<double>(Load(values[i]));
  }
  return values;
}

std::vector<InstructionSet> InstructionSets() {
  std::vector<InstructionSet> sets;
  for (const auto set : {InstructionSet::kBaseline, InstructionSet::kAvx2,
                         InstructionSet::kAvx512}) {
    if (set <= ChosenInstructionSet()) sets.push_back(set);
  }
  return sets;
}

template <typename T>
void TestAgreesWithTheReference(const Problem& problem, Layout layout,
                                int64_t asked_k, double epsilon) {
  const ConvGeometry g = GeometryOf(problem, layout);
  Check(GeometryProblem(g).empty(), "a test's geometry is wrong");
  const int64_t k = std::min(asked_k, g.positions());
  const std::string what = Describe(g, k, sizeof(T));
  std::mt19937 generator(7);
  std::vector<double> x_exact, dy_exact, magnitudes;
  const auto x = RandomValues<T>(g.input_size(), &generator, &x_exact);
  const auto dy = RandomValues<T>(g.output_size(), &generator, &dy_exact);
  const auto expected =
      ReferenceMaxGradient(g, k, 0.5, x_exact, dy_exact, &magnitudes);
  for (const InstructionSet set : InstructionSets()) {
    const std::string with = what + ", " + InstructionSetName(set);
    const auto result = Compute<T>(g, k, 0.5, x, dy, 1, set);
    for (size_t i = 0; i < result.size(); ++i) {
      const double value = static_cast<double>(Load(result[i]));
      const double tolerance =
          epsilon * std::abs(expected[i]) + 1e-5 * magnitudes[i] + 1e-6;
      if (!(std::abs(value - expected[i]) <= tolerance)) {
        Check(false, with + ": element " + std::to_string(i) + " is " +
                         std::to_string(value) + ", not " +
                         std::to_string(expected[i]));
        break;
      }
    }
    for (const int64_t threads : {2, 3, 7}) {
      const auto again = Compute<T>(g, k, 0.5, x, dy, threads, set);
      Check(std::memcmp(again.data(), result.data(),
                        result.size() * sizeof(T)) == 0,
            with + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

void TestNonFiniteChannelShows(const Problem& problem, Layout layout,
                               float value) {
  const ConvGeometry g = GeometryOf(problem, layout);
  std::mt19937 generator(3);
  std::vector<double> exact;
  const auto x = RandomValues<float>(g.input_size(), &generator, &exact);
  auto dy = RandomValues<float>(g.output_size(), &generator, &exact);
  const int64_t channel = g.out_depth / 2;
  dy[ImageIndex(layout, g.batch - 1, g.out_rows / 2, 0, channel, g.out_rows,
                g.out_cols, g.out_depth)] = value;
  for (const InstructionSet set : InstructionSets()) {
    for (const int64_t k : {int64_t{1}, std::min<int64_t>(3, g.positions())}) {
      const auto result = Compute<float>(g, k, 1.0, x, dy, 2, set);
      for (size_t i = 0; i < result.size(); ++i) {
        const bool hit = static_cast<int64_t>(i) % g.out_depth == channel;
        Check(hit || std::isfinite(result[i]),
              Describe(g, k, 4) + ": a channel without NaN isn't finite");
      }
      bool shows = false;
      for (int64_t i = channel; i < static_cast<int64_t>(result.size());
           i += g.out_depth) {
        shows = shows || !std::isfinite(result[i]);
      }
      Check(shows, Describe(g, k, 4) + ": a channel hides a NaN or infinity");
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  for (const Problem& problem : kProblems) {
    for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
      for (const int64_t k : {1, 2, 5, 1000}) {
        TestAgreesWithTheReference<float>(problem, layout, k, 1e-6);
      }
      TestAgreesWithTheReference<double>(problem, layout, 1, 1e-12);
      TestAgreesWithTheReference<double>(problem, layout, 1000, 1e-12);
      TestAgreesWithTheReference<Bfloat16>(problem, layout, 1, 1e-2);
      TestAgreesWithTheReference<Half>(problem, layout, 4, 2e-3);
      TestNonFiniteChannelShows(problem, layout, NAN);
      TestNonFiniteChannelShows(problem, layout, INFINITY);
    }
  }
  return FailedChecks("max_gradient_test");
}
