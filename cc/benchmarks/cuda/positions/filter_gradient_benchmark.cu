// Times the CUDA kernels of the max method, or of the sampled one, beside
// cuDNN's dense filter gradient, on the paper's shapes and ResNet-50's. `make
// gpu-bench` builds and runs it.
//
//   filter_gradient_benchmark [--k=K] [--sampled] [--csv=FILE]
//
// Each number is the GPU's own time of one gradient, a median of interleaved
// runs over inputs that rotate so that none is found in the L2 cache. The bound
// is the time that a copy of as many bytes takes: X and dY read once, dF
// written.

#include <cudnn.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/cuda/cudnn_filter_gradient.h"
#include "cc/benchmarks/cuda/timing.h"
#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cuda/positions/filter_gradient.h"
#include "cc/cuda/random/fill_normal.h"
#include "cc/cuda/runtime/device_limits.h"
#include "cc/tests/cuda/test_device.h"

namespace tf_approxgrad {
namespace {

constexpr int kTimings = 15;
constexpr int64_t kWorkspaceBytes = int64_t{1} << 30;
constexpr size_t kPaperShapes = 8;

struct Gpu {
  CudaDevice device;
  double copy_bytes_per_second;
  cudaStream_t stream;
  cudnnHandle_t cudnn;
  // As the csv file names it.
  std::string name;
};

struct Times {
  // Negative if cuDNN has no algorithm.
  double cudnn, select, accumulate, total;
  int cudnn_algorithm;
  double bound, selection_bound;

  bool has_cudnn() const { return cudnn >= 0; }
  double ratio() const { return cudnn / total; }
};

template <typename T>
struct Tensors {
  Tensors(const ConvGeometry& g, size_t scratch_bytes, uint64_t number,
          cudaStream_t stream)
      : input(g.input_size()),
        out_backprop(g.output_size()),
        filter_backprop(g.filter_size() * g.out_depth),
        scratch(scratch_bytes) {
    Must(CudaFillNormal<T>({1, 0, number}, 1.0, g.input_size(), input.get(),
                           stream),
         "drawing an input");
    Must(CudaFillNormal<T>({1, 1, number}, 1.0, g.output_size(),
                           out_backprop.get(), stream),
         "drawing an output gradient");
  }

  DeviceArray<T> input, out_backprop, filter_backprop;
  DeviceArray<char> scratch;
};

template <typename T>
Times Measure(const Gpu& gpu, const ConvGeometry& g, const Selection& selection,
              CudnnArithmetic arithmetic, const DeviceArray<char>& workspace) {
  const CudaPositionsFilterGradient<T> gradient(g, selection, gpu.device);
  const double selection_bytes =
      sizeof(T) * static_cast<double>(g.output_size());
  const double bytes =
      selection_bytes +
      sizeof(T) *
          static_cast<double>(g.input_size() + g.filter_size() * g.out_depth);
  // Four times what L2 holds lies between two uses of a tensor.
  const int count =
      std::clamp(static_cast<int>(4 * gpu.device.l2_bytes / bytes) + 1, 3, 128);
  std::vector<std::unique_ptr<Tensors<T>>> sets;
  for (int i = 0; i < count; ++i) {
    sets.push_back(std::make_unique<Tensors<T>>(g, gradient.scratch_bytes(), i,
                                                gpu.stream));
  }
  const CudnnFilterGradient cudnn(
      gpu.cudnn, g, arithmetic, sets[0]->input.get(),
      sets[0]->out_backprop.get(), sets[0]->filter_backprop.get(), workspace);
  const double scale = 1.0 / g.batch;
  TimedLaunches total(gpu.stream, count, [&](int i) {
    Must(gradient.Compute(scale, sets[i]->input.get(),
                          sets[i]->out_backprop.get(), sets[i]->scratch.get(),
                          sets[i]->filter_backprop.get(), gpu.stream),
         "the gradient");
  });
  TimedLaunches select(gpu.stream, count, [&](int i) {
    Must(gradient.Select(sets[i]->out_backprop.get(), sets[i]->scratch.get(),
                         gpu.stream),
         "the selection");
  });
  // Of all sets, which the accumulation's first run reads.
  select.Milliseconds();
  TimedLaunches accumulate(gpu.stream, count, [&](int i) {
    Must(
        gradient.Accumulate(scale, sets[i]->input.get(), sets[i]->scratch.get(),
                            sets[i]->filter_backprop.get(), gpu.stream),
        "the accumulation");
  });
  std::vector<TimedLaunches*> timed = {&total, &select, &accumulate};
  std::unique_ptr<TimedLaunches> dense;
  if (cudnn.is_supported()) {
    dense = std::make_unique<TimedLaunches>(gpu.stream, count, [&](int i) {
      cudnn.Run(sets[i]->input.get(), sets[i]->out_backprop.get(),
                sets[i]->filter_backprop.get());
    });
    timed.push_back(dense.get());
  }
  const auto medians = InterleavedMedians(timed, kTimings);
  Times times;
  times.total = medians[0];
  times.select = medians[1];
  times.accumulate = medians[2];
  times.cudnn = dense ? medians[3] : -1;
  times.cudnn_algorithm = cudnn.is_supported() ? cudnn.algorithm() : -1;
  times.bound = 1e3 * bytes / gpu.copy_bytes_per_second;
  times.selection_bound = 1e3 * selection_bytes / gpu.copy_bytes_per_second;
  return times;
}

const char* Name(CudnnArithmetic arithmetic) {
  switch (arithmetic) {
    case CudnnArithmetic::kFloat32:
      return "float32";
    case CudnnArithmetic::kTensorFloat32:
      return "tf32";
    default:
      return "bfloat16";
  }
}

void PrintSummary(const std::string& name, const std::vector<Times>& all) {
  double logs = 0, worst = INFINITY;
  int count = 0;
  for (const Times& t : all) {
    if (!t.has_cudnn()) continue;
    ++count;
    logs += std::log(t.ratio());
    worst = std::min(worst, t.ratio());
  }
  if (count == 0) return;
  std::printf("%-28s %2d shapes: geometric mean %5.2fx, worst %5.2fx\n",
              name.c_str(), count, std::exp(logs / count), worst);
}

Gpu OpenGpu() {
  Gpu gpu;
  gpu.device = TestDevice();
  Must(cudaStreamCreate(&gpu.stream), "cudaStreamCreate");
  MustCudnn(cudnnCreate(&gpu.cudnn), "starting cuDNN");
  MustCudnn(cudnnSetStream(gpu.cudnn, gpu.stream), "cuDNN's stream");
  cudaDeviceProp properties;
  int driver = 0, runtime = 0;
  Must(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  Must(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  Must(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  const auto version = [](int number) {
    return std::to_string(number / 1000) + "." +
           std::to_string(number % 1000 / 10);
  };
  const size_t cudnn = cudnnGetVersion();
  gpu.name = std::string(properties.name) + ", driver for CUDA " +
             version(driver) + ", CUDA " + version(runtime) + ", cuDNN " +
             std::to_string(cudnn / 10000) + "." +
             std::to_string(cudnn % 10000 / 100) + "." +
             std::to_string(cudnn % 100);
  gpu.copy_bytes_per_second = CopyBytesPerSecond(gpu.stream);
  return gpu;
}

}  // namespace
}  // namespace tf_approxgrad

int main(int argc, char** argv) {
  using namespace tf_approxgrad;
  int64_t asked_k = 1;
  auto method = SelectionMethod::kLargest;
  std::FILE* csv = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--k=", 4) == 0 && std::atoi(argv[i] + 4) > 0) {
      asked_k = std::atoi(argv[i] + 4);
    } else if (std::strcmp(argv[i], "--sampled") == 0) {
      method = SelectionMethod::kSampled;
    } else if (std::strncmp(argv[i], "--csv=", 6) == 0) {
      csv = std::fopen(argv[i] + 6, "w");
      if (csv == nullptr) std::perror(argv[i] + 6);
      if (csv == nullptr) return 1;
    } else {
      std::fprintf(stderr,
                   "%s: use --k=K, at least 1, --sampled and --csv=FILE\n",
                   argv[i]);
      return 1;
    }
  }
  const char* method_name =
      method == SelectionMethod::kSampled ? "sampled" : "max";
  const Gpu gpu = OpenGpu();
  const DeviceArray<char> workspace(kWorkspaceBytes);
  std::printf("%s; a copy moves %.0f GB/s; %s with k = %d\n", gpu.name.c_str(),
              gpu.copy_bytes_per_second * 1e-9, method_name,
              static_cast<int>(asked_k));
  if (csv != nullptr) {
    std::fprintf(
        csv,
        "device,copy_gb_per_s,layout,arithmetic,method,k,batch,in_channels,"
        "out_channels,size,filter,stride,cudnn_algorithm,cudnn_ms,"
        "select_ms,accumulate_ms,total_ms,ratio,bound_share,"
        "select_bound_share\n");
  }
  std::map<std::string, std::vector<Times>> of_paper, of_all;
  for (const Layout layout : {Layout::kNCHW, Layout::kNHWC}) {
    const char* layout_name = layout == Layout::kNCHW ? "NCHW" : "NHWC";
    for (const auto arithmetic :
         {CudnnArithmetic::kFloat32, CudnnArithmetic::kTensorFloat32,
          CudnnArithmetic::kBfloat16}) {
      const std::string group =
          std::string(layout_name) + " " + Name(arithmetic);
      std::printf("\n%-32s %9s %9s %9s %9s %7s %7s %7s\n", group.c_str(),
                  "cuDNN ms", "select", "accumul.", "total", "ratio", "bound",
                  "select");
      size_t number = 0;
      for (const ConvolutionShape& shape : kConvolutionShapes) {
        ConvGeometry g = SameConvolution(shape);
        g.layout = layout;
        const int64_t k = std::min(asked_k, g.positions());
        const Selection selection{method, k, {}};
        const Times t =
            arithmetic == CudnnArithmetic::kBfloat16
                ? Measure<Bfloat16>(gpu, g, selection, arithmetic, workspace)
                : Measure<float>(gpu, g, selection, arithmetic, workspace);
        of_all[group].push_back(t);
        if (number++ < kPaperShapes) of_paper[group].push_back(t);
        const auto size = [](int64_t value) { return static_cast<int>(value); };
        std::printf("%3d x %4d -> %4d @ %3d, %dx%d / %d ", size(shape.batch),
                    size(shape.in_depth), size(shape.out_depth),
                    size(shape.size), size(shape.filter), size(shape.filter),
                    size(shape.stride));
        const std::string dense =
            t.has_cudnn() ? std::to_string(t.cudnn) : std::string("none");
        const std::string ratio =
            t.has_cudnn() ? std::to_string(t.ratio()) : std::string();
        std::printf("%10.6s %9.4f %9.4f %9.4f %7.5s %6.0f%% %6.0f%%\n",
                    dense.c_str(), t.select, t.accumulate, t.total,
                    ratio.c_str(), 100 * t.bound / t.total,
                    100 * t.selection_bound / t.select);
        if (csv == nullptr) continue;
        std::fprintf(
            csv,
            "\"%s\",%.0f,%s,%s,%s,%d,%d,%d,%d,%d,%d,%d,%d,%s,%.5f,%.5f,%.5f,%s,"
            "%.3f,%.3f\n",
            gpu.name.c_str(), gpu.copy_bytes_per_second * 1e-9, layout_name,
            Name(arithmetic), method_name, size(k), size(shape.batch),
            size(shape.in_depth), size(shape.out_depth), size(shape.size),
            size(shape.filter), size(shape.stride), t.cudnn_algorithm,
            t.has_cudnn() ? dense.c_str() : "", t.select, t.accumulate, t.total,
            ratio.c_str(), t.bound / t.total, t.selection_bound / t.select);
      }
    }
  }
  std::printf("\n");
  for (const auto& [group, times] : of_paper) {
    PrintSummary(group + ", Table 1", times);
    PrintSummary(group + ", all", of_all[group]);
  }
  if (csv != nullptr && std::fclose(csv) != 0) {
    std::perror("the csv file");
    return 1;
  }
  return 0;
}
