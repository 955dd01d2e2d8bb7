// Times the CUDA kernels of the row-sampled method, up to the product, on the
// paper's shapes and ResNet-50's. `make gpu-bench` builds and runs it; the
// product is TensorFlow's, so that `make bench` times the whole on a GPU.
//
//   sampling_benchmark [--share=S]
//
// Each number is the GPU's own time, a median of interleaved runs over inputs
// that rotate so that none is found in the L2 cache. The bounds are the times
// in which a copy moves as many bytes: dY read once for the draw, and for the
// gathering what is written.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/cuda/timing.h"
#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cuda/random/fill_normal.h"
#include "cc/cuda/rows/sampling.h"
#include "cc/cuda/runtime/device_limits.h"
#include "cc/tests/cuda/test_device.h"

namespace tf_approxgrad {
namespace {

constexpr int kTimings = 15;

struct Variant {
  const char* name;
  bool by_product, keep_largest;
};
constexpr Variant kVariants[] = {
    {"norm", false, false}, {"product", true, false}, {"largest", false, true}};

template <typename T>
struct Tensors {
  using Accumulator = typename AccumulatorOf<T>::type;

  Tensors(const ConvGeometry& g, int64_t draws, size_t scratch_bytes,
          uint64_t number, cudaStream_t stream)
      : input(g.input_size()),
        out_backprop(g.output_size()),
        scratch(scratch_bytes),
        patches(draws * g.filter_size()),
        rows(draws * g.out_depth) {
    Must(CudaFillNormal<T>({1, 0, number}, 1.0, g.input_size(), input.get(),
                           stream),
         "drawing an input");
    Must(CudaFillNormal<T>({1, 1, number}, 1.0, g.output_size(),
                           out_backprop.get(), stream),
         "drawing an output gradient");
  }

  DeviceArray<T> input, out_backprop;
  DeviceArray<char> scratch;
  DeviceArray<Accumulator> patches, rows;
};

// Milliseconds of the draw and of the gathering.
template <typename T>
std::vector<double> Measure(const ConvGeometry& g, const RowSampling& sampling,
                            const CudaDevice& device, cudaStream_t stream) {
  const CudaRowSampling<T> sampler(g, sampling);
  const double bytes =
      sizeof(T) * static_cast<double>(g.input_size() + g.output_size());
  // Four times what L2 holds lies between two uses of a tensor.
  const int count =
      std::clamp(static_cast<int>(4 * device.l2_bytes / bytes) + 1, 3, 128);
  std::vector<std::unique_ptr<Tensors<T>>> sets;
  for (int i = 0; i < count; ++i) {
    sets.push_back(std::make_unique<Tensors<T>>(
        g, sampling.draws, sampler.scratch_bytes(), i, stream));
  }
  TimedLaunches draw(stream, count, [&](int i) {
    Must(sampler.Draw(0.5, sets[i]->input.get(), sets[i]->out_backprop.get(),
                      sets[i]->scratch.get(), stream),
         "the draw");
  });
  // Of all sets, which the gathering's first run reads.
  draw.Milliseconds();
  TimedLaunches gather(stream, count, [&](int i) {
    Must(sampler.Gather(sets[i]->input.get(), sets[i]->out_backprop.get(),
                        sets[i]->scratch.get(), sets[i]->patches.get(),
                        sets[i]->rows.get(), stream),
         "the gathering");
  });
  return InterleavedMedians({&draw, &gather}, kTimings);
}

template <typename T>
void MeasureAll(const char* type, Layout layout, double share,
                const CudaDevice& device, cudaStream_t stream) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const double copy = CopyBytesPerSecond(stream);
  for (const Variant& variant : kVariants) {
    std::printf("\n%s %s %-10s %24s %8s %9s %8s\n",
                layout == Layout::kNHWC ? "NHWC" : "NCHW", type, variant.name,
                "draw ms", "bound", "gather", "bound");
    for (const ConvolutionShape& s : kConvolutionShapes) {
      ConvGeometry g = SameConvolution(s);
      g.layout = layout;
      const double rows = static_cast<double>(g.batch * g.positions());
      const RowSampling sampling{
          std::max<int64_t>(1, static_cast<int64_t>(share * rows)),
          variant.by_product, variant.keep_largest};
      const auto times = Measure<T>(g, sampling, device, stream);
      const double read =
          sizeof(T) *
          static_cast<double>(g.output_size() +
                              (variant.by_product ? g.input_size() : 0));
      const double written =
          sizeof(Accumulator) *
          static_cast<double>(sampling.draws * (g.filter_size() + g.out_depth));
      const auto size = [](int64_t value) { return static_cast<int>(value); };
      std::printf("%3d x %4d -> %4d @ %3d, %dx%d / %d ", size(s.batch),
                  size(s.in_depth), size(s.out_depth), size(s.size),
                  size(s.filter), size(s.filter), size(s.stride));
      std::printf("%12.4f %7.0f%% %9.4f %7.0f%%\n", times[0],
                  100 * 1e3 * read / copy / times[0], times[1],
                  100 * 1e3 * written / copy / times[1]);
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main(int argc, char** argv) {
  using namespace tf_approxgrad;
  double share = 0.125;
  for (int i = 1; i < argc; ++i) {
    const bool is_share = std::strncmp(argv[i], "--share=", 8) == 0;
    if (is_share) share = std::atof(argv[i] + 8);
    if (!is_share || !(share > 0 && share < 1)) {
      std::fprintf(stderr, "%s: use --share=S, between 0 and 1\n", argv[i]);
      return 1;
    }
  }
  const CudaDevice device = TestDevice();
  cudaStream_t stream;
  Must(cudaStreamCreate(&stream), "cudaStreamCreate");
  for (const Layout layout : {Layout::kNCHW, Layout::kNHWC}) {
    MeasureAll<float>("float32", layout, share, device, stream);
    MeasureAll<Bfloat16>("bfloat16", layout, share, device, stream);
  }
  return 0;
}
