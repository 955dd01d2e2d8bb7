// TensorFlow's threads as the kernels' RunWorkers. For the *_kernel.cc files,
// which include TensorFlow; the kernels don't.

#ifndef TF_APPROXGRAD_CC_KERNELS_CPU_WORKERS_H_
#define TF_APPROXGRAD_CC_KERNELS_CPU_WORKERS_H_

#include <cstdint>
#include <functional>

#include "cc/kernels/unit_queue.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_approxgrad {

inline int64_t CpuThreads(tensorflow::OpKernelContext* context) {
  return context->device()->tensorflow_cpu_worker_threads()->num_threads;
}

inline RunWorkers RunOnCpu(tensorflow::OpKernelContext* context) {
  const auto* workers = context->device()->tensorflow_cpu_worker_threads();
  return [workers](int64_t count, const std::function<void()>& work) {
    // More than any unit costs, so that each worker gets a thread.
    constexpr int64_t kCycles = 1 << 30;
    tensorflow::Shard(workers->num_threads, workers->workers, count, kCycles,
                      [&work](int64_t begin, int64_t end) {
                        for (; begin < end; ++begin) work();
                      });
  };
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_CPU_WORKERS_H_
