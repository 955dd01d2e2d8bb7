// Times work on a GPU by its own clock.

#ifndef TF_APPROXGRAD_CC_BENCHMARKS_CUDA_TIMING_H_
#define TF_APPROXGRAD_CC_BENCHMARKS_CUDA_TIMING_H_

#include <cuda_runtime.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "cc/cuda/runtime/launch.h"
#include "cc/tests/cuda/device_array.h"

namespace tf_approxgrad {

inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Some launches as one graph: the time between two of them is the GPU's, not
// what the processor needs to start them.
class TimedLaunches {
 public:
  // `launch(i)` starts number i of `count` on the stream.
  TimedLaunches(cudaStream_t stream, int count,
                const std::function<void(int)>& launch)
      : stream_(stream), count_(count) {
    // What is made by the first call, such as modules, is made before.
    launch(0);
    Must(cudaStreamSynchronize(stream), "a first run");
    cudaGraph_t graph;
    Must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed),
         "capturing launches");
    for (int i = 0; i < count; ++i) launch(i);
    Must(cudaStreamEndCapture(stream, &graph), "capturing launches");
    Must(cudaGraphInstantiateWithFlags(&graph_, graph, 0), "making a graph");
    Must(cudaGraphDestroy(graph), "making a graph");
    Must(cudaEventCreate(&start_), "cudaEventCreate");
    Must(cudaEventCreate(&stop_), "cudaEventCreate");
  }
  TimedLaunches(const TimedLaunches&) = delete;
  TimedLaunches& operator=(const TimedLaunches&) = delete;
  ~TimedLaunches() {
    cudaGraphExecDestroy(graph_);
    cudaEventDestroy(start_);
    cudaEventDestroy(stop_);
  }

  // Milliseconds of one launch, on average.
  double Milliseconds() {
    float milliseconds = 0;
    Must(cudaEventRecord(start_, stream_), "cudaEventRecord");
    Must(cudaGraphLaunch(graph_, stream_), "cudaGraphLaunch");
    Must(cudaEventRecord(stop_, stream_), "cudaEventRecord");
    Must(cudaEventSynchronize(stop_), "waiting for a graph");
    Must(cudaEventElapsedTime(&milliseconds, start_, stop_),
         "cudaEventElapsedTime");
    return milliseconds / count_;
  }

 private:
  cudaStream_t stream_;
  int count_;
  cudaGraphExec_t graph_;
  cudaEvent_t start_, stop_;
};

// Medians of each, run in turns so that all meet the same clocks.
inline std::vector<double> InterleavedMedians(
    const std::vector<TimedLaunches*>& timed, int repeats) {
  std::vector<std::vector<double>> all(timed.size());
  for (int repeat = -1; repeat < repeats; ++repeat) {
    for (size_t i = 0; i < timed.size(); ++i) {
      const double milliseconds = timed[i]->Milliseconds();
      // The first round warms up.
      if (repeat >= 0) all[i].push_back(milliseconds);
    }
  }
  std::vector<double> medians;
  for (const auto& values : all) medians.push_back(Median(values));
  return medians;
}

// Neighbouring threads copy neighbouring 16 bytes, four each.
static __global__ void CopyVectors(int64_t count, const uint4* from,
                                   uint4* to) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  uint4 read[4];
  for (int64_t at = first; at < count; at += 4 * step) {
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      if (at + u * step < count) read[u] = from[at + u * step];
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      if (at + u * step < count) to[at + u * step] = read[u];
    }
  }
}

// Bytes read and written in a second by a copy too large for any cache. A
// kernel, since cudaMemcpyAsync moved a third less on an H200.
inline double CopyBytesPerSecond(cudaStream_t stream) {
  constexpr int64_t kBytes = int64_t{1} << 30;
  constexpr int64_t kCount = kBytes / sizeof(uint4);
  constexpr int kThreads = 512;
  DeviceArray<char> from(kBytes), to(kBytes);
  TimedLaunches copy(stream, 4, [&](int) {
    CopyVectors<<<kCount / kThreads / 4, kThreads, 0, stream>>>(
        kCount, reinterpret_cast<const uint4*>(from.get()),
        reinterpret_cast<uint4*>(to.get()));
    Must(cudaGetLastError(), "copying");
  });
  return 2e3 * kBytes / InterleavedMedians({&copy}, 15)[0];
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_BENCHMARKS_CUDA_TIMING_H_
