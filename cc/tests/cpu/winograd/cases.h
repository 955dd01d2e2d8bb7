// What the tests of both Winograd gradients have in common: convolutions, data
// and the measure of errors.

#ifndef TF_APPROXGRAD_CC_TESTS_CPU_WINOGRAD_CASES_H_
#define TF_APPROXGRAD_CC_TESTS_CPU_WINOGRAD_CASES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/tests/check.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/cpu/runs.h"

namespace tf_approxgrad {

inline ConvGeometry Convolution(int64_t batch, int64_t rows, int64_t cols,
                                int64_t in_depth, int64_t out_depth,
                                int64_t before, int64_t after) {
  return GeometryOf({batch, rows, cols, in_depth, out_depth, 3, 3, 1, 1, 1, 1,
                     before, after, before, after},
                    Layout::kNHWC);
}

using Draw = std::function<double(std::mt19937*)>;

inline double Normal(std::mt19937* generator) {
  return std::normal_distribution<double>()(*generator);
}
inline double Relu(std::mt19937* generator) {
  return std::max(Normal(generator), 0.0);
}
inline double OfMeanThree(std::mt19937* generator) {
  return 3 + Normal(generator);
}

inline std::vector<float> DrawValues(int64_t count, const Draw& draw,
                                     int seed) {
  std::mt19937 generator(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(draw(&generator));
  return values;
}

// Frobenius norm of the error over that of the gradient.
inline double RelativeError(const std::vector<float>& result,
                            const std::vector<double>& expected) {
  double error = 0;
  double norm = 0;
  for (size_t i = 0; i < result.size(); ++i) {
    error += (result[i] - expected[i]) * (result[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return norm == 0 ? error : std::sqrt(error / norm);
}

constexpr double kLargestError = 3e-6;

// Of two tensors, X or filters and dY, makes a gradient.
using Computation = std::function<std::vector<float>(
    const ConvGeometry& g, const std::vector<float>& a,
    const std::vector<float>& dy, int64_t threads, InstructionSet set)>;
using ReferenceComputation = std::function<std::vector<double>(
    const ConvGeometry& g, const std::vector<float>& a,
    const std::vector<float>& dy)>;

// A gradient's computation and reference.
struct Gradient {
  Computation compute;
  ReferenceComputation reference;
  // Number of elements of the first tensor.
  std::function<int64_t(const ConvGeometry&)> size;
};

inline void TestAgreesWithTheReference(const Gradient& gradient,
                                       const ConvGeometry& g,
                                       const Draw& draw) {
  const auto a = DrawValues(gradient.size(g), draw, 1);
  const auto dy = DrawValues(g.output_size(), Normal, 2);
  const auto expected = gradient.reference(g, a, dy);
  for (const InstructionSet set : InstructionSets()) {
    const std::string what = Describe(g) + ", padded by " +
                             std::to_string(g.pad_top) + ", " +
                             InstructionSetName(set);
    const auto result = gradient.compute(g, a, dy, 1, set);
    const double error = RelativeError(result, expected);
    Check(error <= kLargestError,
          what + ": relative error " + std::to_string(error * 1e6) + "e-6");
    for (const int64_t threads : {2, 3, 8}) {
      const auto again = gradient.compute(g, a, dy, threads, set);
      Check(result.empty() || std::memcmp(again.data(), result.data(),
                                          result.size() * sizeof(float)) == 0,
            what + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

// Wherever dense isn't finite, this isn't either.
inline void TestNonFiniteShows(const Gradient& gradient, const ConvGeometry& g,
                               float value, bool in_dy) {
  auto a = DrawValues(gradient.size(g), Normal, 1);
  auto dy = DrawValues(g.output_size(), Normal, 2);
  auto* values = in_dy ? &dy : &a;
  for (const double place : {0.0, 0.37, 0.99}) {
    const auto before = *values;
    (*values)[static_cast<size_t>(place *
                                  static_cast<double>(values->size()))] = value;
    const auto expected = gradient.reference(g, a, dy);
    for (const InstructionSet set : InstructionSets()) {
      const auto result = gradient.compute(g, a, dy, 2, set);
      for (size_t i = 0; i < result.size(); ++i) {
        if (!std::isfinite(expected[i]) && std::isfinite(result[i])) {
          Check(false, Describe(g) + ": a NaN or infinity in " +
                           (in_dy ? "dY" : "the other tensor") + " is hidden");
          break;
        }
      }
    }
    *values = before;
  }
}

// Every size of map, with paddings SAME, VALID and others, and channels that
// fill no vector; the shapes of `more`; nothing at all; what isn't finite.
inline void TestAllCases(const Gradient& gradient,
                         const std::vector<ConvGeometry>& more) {
  const Draw draws[] = {Normal, Relu, OfMeanThree};
  const std::pair<int64_t, int64_t> paddings[] = {
      {1, 1}, {0, 0}, {2, 1}, {0, 2}, {3, 4}};
  const std::pair<int64_t, int64_t> channels[] = {
      {5, 7}, {1, 1}, {16, 16}, {3, 33}, {40, 2}, {17, 24}, {32, 48}, {7, 65}};
  int draw = 0;
  size_t next = 0;
  for (int64_t size = 1; size <= 15; ++size) {
    for (const auto& [before, after] : paddings) {
      if (size + before + after < 3) continue;
      const auto& [in, out] = channels[next++ % std::size(channels)];
      const int64_t cols = std::max<int64_t>((size * 7 + before) % 16, 3);
      TestAgreesWithTheReference(
          gradient, Convolution(3, size, cols, in, out, before, after),
          draws[draw++ % 3]);
    }
  }
  for (const ConvGeometry& g : more) {
    TestAgreesWithTheReference(gradient, g, draws[draw++ % 3]);
  }
  for (const ConvGeometry& empty :
       {Convolution(0, 5, 5, 3, 4, 1, 1), Convolution(2, 0, 5, 3, 4, 2, 2),
        Convolution(2, 5, 0, 3, 4, 2, 2), Convolution(2, 5, 5, 0, 4, 1, 1),
        Convolution(2, 5, 5, 3, 0, 1, 1), Convolution(2, 2, 2, 3, 4, 0, 0)}) {
    TestAgreesWithTheReference(gradient, empty, Normal);
  }
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    for (const bool in_dy : {false, true}) {
      TestNonFiniteShows(gradient, Convolution(2, 7, 6, 5, 9, 1, 1), value,
                         in_dy);
      TestNonFiniteShows(gradient, Convolution(9, 14, 9, 17, 18, 0, 2), value,
                         in_dy);
    }
  }
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_CPU_WINOGRAD_CASES_H_
