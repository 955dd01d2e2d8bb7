// Times the Winograd filter gradient by itself, without TensorFlow, beside a
// dense gradient at the peak of the multiply-add units, which none reaches.
//
//   filter_gradient_benchmark [threads [repeats [the only shape, from 0]]]
//
// With one thread processor time, so that a busy machine matters little; with
// more the time on the clock.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/measuring.h"
#include "cc/benchmarks/multiply_adds.h"
#include "cc/common/geometry.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/winograd/filter_gradient.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"

namespace {

using tf_approxgrad::ConvGeometry;
using tf_approxgrad::ConvolutionShape;
using tf_approxgrad::InstructionSet;
using tf_approxgrad::MakeValues;
using tf_approxgrad::RandomValues;
using tf_approxgrad::ThreadMilliseconds;
using tf_approxgrad::Values;
using tf_approxgrad::WinogradKernels;
using tf_approxgrad::WinogradPlan;

// Beside those of convolution_shapes.h.
constexpr ConvolutionShape kMoreShapes[] = {{128, 64, 64, 28, 3, 1}};

// Threads that spin while they wait, so that waking them costs nothing.
class Helpers {
 public:
  explicit Helpers(int count) {
    for (int i = 0; i < count; ++i) threads_.emplace_back([this] { Serve(); });
  }
  ~Helpers() {
    Call(nullptr);
    for (std::thread& thread : threads_) thread.join();
  }
  void Run(const std::function<void()>& work) {
    done_.store(0);
    Call(&work);
    work();
    while (done_.load() < static_cast<int>(threads_.size())) {
    }
  }

 private:
  void Call(const std::function<void()>* work) {
    work_ = work;
    calls_.fetch_add(1);
  }
  void Serve() {
    for (int64_t call = 1;; ++call) {
      while (calls_.load() < call) {
      }
      if (work_ == nullptr) return;
      (*work_)();
      done_.fetch_add(1);
    }
  }

  std::vector<std::thread> threads_;
  const std::function<void()>* work_ = nullptr;
  std::atomic<int64_t> calls_{0};
  std::atomic<int> done_{0};
};

double ClockMilliseconds() {
  const std::chrono::duration<double, std::milli> now =
      std::chrono::steady_clock::now().time_since_epoch();
  return now.count();
}

// Multiply-adds a second of one thread, in thousands of millions.
double Peak(InstructionSet set) {
  constexpr int64_t kRounds = 2'000'000;
  const auto loop = tf_approxgrad::MultiplyAddLoopFor(set);
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double start = ThreadMilliseconds();
    volatile float sum = loop.run(kRounds);
    (void)sum;
    best = std::max(best, loop.multiply_adds(kRounds) * 1e-6 /
                              (ThreadMilliseconds() - start));
  }
  return best;
}

// What transforms take in one thread if the pixels are in cache: one block's,
// times the number of blocks.
double TransformMilliseconds(const ConvGeometry& g, InstructionSet set,
                             const float* input, const float* out_backprop) {
  const auto kernels = tf_approxgrad::KernelsFor<WinogradKernels>(set);
  const WinogradPlan plan = tf_approxgrad::PlanWinograd(g, kernels.panel_width);
  const Values panels = MakeValues(plan.panels_size());
  const std::vector<float> zeros(g.in_depth);
  const tf_approxgrad::WinogradTask task{
      g, plan, input, out_backprop, zeros.data(), nullptr};
  const int64_t tiles = std::min(plan.block_tiles, plan.tiles);
  double least = 1e9;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const double start = ThreadMilliseconds();
    kernels.transform(task, 0, 0, tiles, panels.get());
    least = std::min(least, ThreadMilliseconds() - start);
  }
  return least * static_cast<double>(plan.tiles) / static_cast<double>(tiles);
}

// Multiply-adds of the products.
double Products(const ConvGeometry& g) {
  const auto points = [](int64_t pixels) {
    const int64_t edge = pixels % tf_approxgrad::kTilePixels;
    return pixels / tf_approxgrad::kTilePixels * tf_approxgrad::kPoints +
           (edge > 0 ? edge + 2 : 0);
  };
  return static_cast<double>(g.batch * points(g.out_rows) *
                             points(g.out_cols)) *
         static_cast<double>(g.in_depth * g.out_depth);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  const int repeats = argc > 2 ? std::max(1, std::atoi(argv[2])) : 9;
  const InstructionSet set = tf_approxgrad::ChosenInstructionSet();
  const double peak = Peak(set);
  std::printf(
      "%s, %d threads, float32 NHWC, least of %d; peak of a thread "
      "%.1f G multiply-adds/s\n",
      tf_approxgrad::InstructionSetName(set).c_str(), threads, repeats, peak);
  std::printf("%34s %8s %9s %9s %11s %13s\n", "", "", "dense at", "products",
              "transforms", "products, G");
  std::printf("%34s %8s %9s %9s %11s %13s\n", "shape", "ms", "the peak",
              "at it", "in cache", "mult.-adds/s");
  std::vector<ConvolutionShape> shapes;
  for (const auto& shape : tf_approxgrad::kConvolutionShapes) {
    if (shape.filter == 3 && shape.stride == 1) shapes.push_back(shape);
  }
  for (const auto& shape : kMoreShapes) shapes.push_back(shape);
  if (argc > 3) {
    const size_t only = std::min<size_t>(std::atoi(argv[3]), shapes.size() - 1);
    shapes = {shapes[only]};
  }
  Helpers helpers(threads - 1);
  for (const ConvolutionShape& shape : shapes) {
    const ConvGeometry g = tf_approxgrad::SameConvolution(shape);
    const tf_approxgrad::WinogradFilterGradient gradient(g, threads, set);
    const Values input = RandomValues(g.input_size(), 1);
    const Values out_backprop = RandomValues(g.output_size(), 2);
    const Values result = MakeValues(g.filter_size() * g.out_depth);
    const Values scratch = MakeValues(gradient.scratch_bytes() / 4);
    std::vector<double> times;
    for (int repeat = 0; repeat <= repeats; ++repeat) {
      const auto now = threads == 1 ? &ThreadMilliseconds : &ClockMilliseconds;
      const double start = now();
      gradient.Compute(input.get(), out_backprop.get(), scratch.get(),
                       result.get(),
                       [&](int64_t workers, const std::function<void()>& work) {
                         if (workers == 1) return work();
                         helpers.Run(work);
                       });
      // The first call meets new pages.
      if (repeat > 0) times.push_back(now() - start);
    }
    const double ms = *std::min_element(times.begin(), times.end());
    const double transform_ms =
        TransformMilliseconds(g, set, input.get(), out_backprop.get());
    const double dense = static_cast<double>(g.batch * g.positions()) *
                         g.filter_size() * g.out_depth;
    const double products = Products(g);
    tf_approxgrad::PrintShape(g);
    std::printf(" %8.2f %8.2fx %8.0f%% %10.0f%% %13.1f\n", ms,
                dense * 1e-6 / (peak * threads) / ms,
                products * 1e-6 / (peak * threads) / ms * 100,
                transform_ms / threads / ms * 100,
                products * 1e-6 / (ms - transform_ms / threads));
  }
  return 0;
}
