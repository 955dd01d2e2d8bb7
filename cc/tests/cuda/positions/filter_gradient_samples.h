// What the CUDA kernels of the methods that keep positions are tested on:
// convolutions with their tensors on the device and the gradients that they
// should give, and the plans that can be asked for.

#ifndef TF_APPROXGRAD_CC_TESTS_CUDA_POSITIONS_FILTER_GRADIENT_SAMPLES_H_
#define TF_APPROXGRAD_CC_TESTS_CUDA_POSITIONS_FILTER_GRADIENT_SAMPLES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cpu/positions/filter_gradient.h"
#include "cc/cuda/positions/filter_gradient.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/runtime/device_limits.h"
#include "cc/tests/check.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/common/problems.h"
#include "cc/tests/cuda/device_array.h"
#include "cc/tests/cuda/test_device.h"

namespace tf_approxgrad {

inline constexpr Layout kLayouts[] = {Layout::kNHWC, Layout::kNCHW};
constexpr double kScale = 0.5;

inline std::string Describe(const CudaPlan& plan) {
  static const char* const kSelections[] = {"planes", "rows", "sorted",
                                            "threshold", "sampled"};
  static const char* const kInputs[] = {"tile", "vectors", "elements"};
  const auto layout = [](Layout l) { return l == Layout::kNHWC ? "C" : "HW"; };
  return std::string("input of ..") + layout(plan.input_layout) + " as " +
         kInputs[static_cast<int>(plan.input)] + " (" +
         std::to_string(plan.vector) + " x " + std::to_string(plan.lanes) +
         "), dY of .." + layout(plan.out_backprop_layout) + " by " +
         kSelections[static_cast<int>(plan.selection)] + " (" +
         std::to_string(plan.selection_vector) + " x " +
         std::to_string(plan.selection_lanes) + " x " +
         std::to_string(plan.selection_warps) + " x " +
         std::to_string(plan.selection_workers) + "), " +
         std::to_string(plan.block_out_channels) +
         " output channels a block, " + std::to_string(plan.splits) +
         " parts, stages of " + std::to_string(plan.stage_examples) + " x " +
         std::to_string(plan.stage_positions);
}

// `values`, in NHWC, in another layout.
template <typename T>
std::vector<T> InLayout(Layout layout, const std::vector<T>& values, int64_t n,
                        int64_t rows, int64_t cols, int64_t channels) {
  std::vector<T> moved(values.size());
  int64_t from = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t col = 0; col < cols; ++col) {
        for (int64_t c = 0; c < channels; ++c) {
          moved[ImageIndex(layout, i, row, col, c, rows, cols, channels)] =
              values[from++];
        }
      }
    }
  }
  return moved;
}

// A convolution in NHWC with its tensors, in each layout on the device, and
// what its gradient should be.
template <typename T>
struct Sample {
  Sample(const ConvGeometry& geometry, const Selection& asked,
         const std::vector<T>& x, const std::vector<T>& dy)
      : g(geometry), selection(asked) {
    selection.k = std::min(selection.k, g.positions());
    Check(GeometryProblem(g).empty(), "a test's geometry is wrong");
    // Not aligned in the second half.
    for (const int64_t skipped : {0, 1}) {
      for (const Layout layout : kLayouts) {
        inputs.emplace_back(
            InLayout(layout, x, g.batch, g.in_rows, g.in_cols, g.in_depth),
            skipped);
        out_backprops.emplace_back(
            InLayout(layout, dy, g.batch, g.out_rows, g.out_cols, g.out_depth),
            skipped);
      }
    }
    const auto exact = [](const std::vector<T>& values) {
      std::vector<double> doubles;
      for (const T value : values) {
        doubles.push_back(static_cast<double>(Load(value)));
      }
      return doubles;
    };
    expected = ReferenceGradient(g, selection, kScale, exact(x), exact(dy),
                                 &magnitudes, std::is_same_v<T, double>);
    const PositionsFilterGradient<T> cpu(g, selection, 1);
    // Aligned to lines, as TensorFlow's allocator does it.
    std::vector<char> scratch(cpu.scratch_bytes() + 64);
    void* aligned = scratch.data();
    size_t space = scratch.size();
    std::align(64, cpu.scratch_bytes(), aligned, space);
    of_cpu.resize(expected.size());
    cpu.Compute(kScale, x.data(), dy.data(), aligned, of_cpu.data(),
                [](int64_t, const std::function<void()>& work) { work(); });
  }

  ConvGeometry g;
  Selection selection;
  std::vector<DeviceArray<T>> inputs, out_backprops;
  std::vector<double> expected, magnitudes;
  std::vector<T> of_cpu;
};

template <typename T>
Sample<T> RandomSample(const ConvGeometry& g, const Selection& selection) {
  std::mt19937 generator(7);
  std::vector<double> exact;
  const auto x = RandomValues<T>(g.input_size(), &generator, &exact);
  const auto dy = RandomValues<T>(g.output_size(), &generator, &exact);
  return Sample<T>(g, selection, x, dy);
}

// How often each kernel has run.
inline std::map<std::string, int>& RunsOf() {
  static std::map<std::string, int> runs;
  return runs;
}

// The gradient under `options`, checked to be the same in every repeat.
template <typename T>
std::vector<T> Compute(const Sample<T>& sample, const CudaDevice& device,
                       const CudaPlanOptions& options, bool aligned,
                       std::string* what) {
  const CudaPositionsFilterGradient<T> gradient(sample.g, sample.selection,
                                                device, options);
  const CudaPlan& plan = gradient.plan();
  *what = Describe(sample.g, sample.selection, sizeof(T)) + ", " +
          Describe(plan) + (aligned ? "" : ", not aligned");
  const auto index = [&](Layout layout) {
    return (aligned ? 0 : 2) + (layout == Layout::kNHWC ? 0 : 1);
  };
  DeviceArray<char> scratch(gradient.scratch_bytes());
  DeviceArray<T> result(sample.expected.size(), aligned ? 0 : 1);
  std::vector<T> first;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    StartRepeat(repeat);
    scratch.Clear();
    result.Clear();
    Must(gradient.Compute(
             kScale, sample.inputs[index(plan.input_layout)].get(),
             sample.out_backprops[index(plan.out_backprop_layout)].get(),
             scratch.get(), result.get(), nullptr),
         what->c_str());
    Must(cudaDeviceSynchronize(), what->c_str());
    const std::vector<T> now = result.Read();
    if (repeat == 0) first = now;
    Check(std::memcmp(now.data(), first.data(), now.size() * sizeof(T)) == 0,
          *what + ": other bits in another run");
  }
  ++RunsOf()["selection " + std::to_string(static_cast<int>(plan.selection))];
  ++RunsOf()["input " + std::to_string(static_cast<int>(plan.input))];
  ++RunsOf()[plan.splits > 1 ? "several parts" : "one part"];
  ++RunsOf()[plan.stage_examples > 1 ? "several examples" : "one example"];
  ++RunsOf()[plan.taps > 1 ? "many taps" : "one tap"];
  ++RunsOf()[plan.has_tables() ? "a table" : "no table"];
  return first;
}

template <typename T>
void CheckAgrees(const Sample<T>& sample, const std::vector<T>& result,
                 double epsilon, const std::string& what) {
  for (size_t i = 0; i < result.size(); ++i) {
    const double value = static_cast<double>(Load(result[i]));
    const double of_cpu = static_cast<double>(Load(sample.of_cpu[i]));
    const double tolerance = epsilon * std::abs(sample.expected[i]) +
                             1e-5 * sample.magnitudes[i] + 1e-6;
    if (std::abs(value - sample.expected[i]) <= tolerance &&
        std::abs(value - of_cpu) <= 2 * tolerance) {
      continue;
    }
    Check(false, what + ": element " + std::to_string(i) + " is " +
                     std::to_string(value) + ", not " +
                     std::to_string(sample.expected[i]) + " (on the CPU " +
                     std::to_string(of_cpu) + ")");
    return;
  }
}

// All that can be asked of a plan for this convolution.
template <typename T>
std::vector<CudaPlanOptions> AllOptions(const ConvGeometry& g, int64_t k,
                                        const CudaDevice& device) {
  std::vector<CudaPlanOptions> all;
  CudaPlanOptions o;
  for (const Layout input_layout : kLayouts) {
    o.input_layout = input_layout;
    for (const Layout out_backprop_layout : kLayouts) {
      o.out_backprop_layout = out_backprop_layout;
      for (const auto selection :
           {CudaSelection::kPlanes, CudaSelection::kRows,
            CudaSelection::kSorted, CudaSelection::kThreshold}) {
        o.selection = selection;
        if (!CudaPlanProblem(g, k, o).empty()) continue;
        for (const auto input :
             {CudaInput::kTile, CudaInput::kVectors, CudaInput::kElements}) {
          o.input = input;
          for (const bool vectors : {true, false}) {
            o.vectors = vectors;
            for (const int64_t splits : {int64_t{1}, int64_t{3}, g.batch}) {
              o.splits = std::min(splits, g.batch);
              o.block_out_channels.reset();
              all.push_back(o);
              // Half as many, down to a warp.
              using A = typename AccumulatorOf<T>::type;
              const CudaPlan plan =
                  PlanCuda(g, k, sizeof(T), sizeof(A), device, o);
              if (plan.threads < 64) continue;
              o.block_out_channels = plan.block_out_channels / 2;
              all.push_back(o);
            }
          }
        }
      }
    }
  }
  return all;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_CUDA_POSITIONS_FILTER_GRADIENT_SAMPLES_H_
