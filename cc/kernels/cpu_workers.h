// TensorFlow's threads as the kernels' RunWorkers.

#ifndef TF_APPROXGRAD_CC_KERNELS_CPU_WORKERS_H_
#define TF_APPROXGRAD_CC_KERNELS_CPU_WORKERS_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/core/worker_gate.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

inline int64_t CpuThreads(tensorflow::OpKernelContext* context) {
  return context->device()->tensorflow_cpu_worker_threads()->num_threads;
}

inline RunWorkers RunOnCpu(tensorflow::OpKernelContext* context) {
  const auto* workers = context->device()->tensorflow_cpu_worker_threads();
  return [workers](int64_t count, const std::function<void()>& work) {
    const auto gate = std::make_shared<WorkerGate>();
    for (int64_t worker = 1; worker < count; ++worker) {
      workers->workers->Schedule([gate, &work] {
        if (!gate->Enter()) return;
        work();
        gate->Leave();
      });
    }
    work();
    gate->Close();
  };
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_CPU_WORKERS_H_
