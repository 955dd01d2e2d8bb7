// The OpKernel of ApproxRandomFilterGradient on the CPU.

#include <cstdint>

#include "cc/common/normal_numbers.h"
#include "cc/common/random_stream.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/random/kernels.h"
#include "cc/kernels/random_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

// About what a group of numbers costs, for the thread pool.
constexpr int64_t kCyclesPerGroup = 4 * kNormalGroup;

template <typename T>
class ApproxRandomFilterGradientOp : public RandomFilterGradientOp {
 public:
  using RandomFilterGradientOp::RandomFilterGradientOp;

 protected:
  void Fill(OpKernelContext* context, const RandomStream& stream, double stddev,
            Tensor* output) override {
    using Stored = typename KernelType<T>::type;
    const int64_t size = output->NumElements();
    const auto fill =
        KernelsFor<RandomKernels<Stored>>(ChosenInstructionSet()).fill_normal;
    Stored* values = reinterpret_cast<Stored*>(output->flat<T>().data());
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    tensorflow::Shard(workers.num_threads, workers.workers, NormalGroups(size),
                      kCyclesPerGroup, [&](int64_t begin, int64_t end) {
                        fill(stream, stddev, begin, end, size, values);
                      });
  }
};

TF_APPROXGRAD_REGISTER(
    Name("ApproxRandomFilterGradient").Device(tensorflow::DEVICE_CPU),
    ApproxRandomFilterGradientOp);

}  // namespace
}  // namespace tf_approxgrad
