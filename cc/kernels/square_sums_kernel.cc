// The OpKernel of ApproxSquareSums on the CPU.

#include <algorithm>
#include <cstdint>
#include <string>

#include "cc/common/geometry.h"
#include "cc/common/integer_math.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/core/useful_workers.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

// Positions that a worker takes at a time.
constexpr int64_t kPositions = 1024;

template <typename T>
class SquareSumsOp : public tensorflow::OpKernel {
 public:
  explicit SquareSumsOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    std::string data_format;
    OP_REQUIRES_OK(context, context->GetAttr("data_format", &data_format));
    layout_ = data_format == "NHWC" ? Layout::kNHWC : Layout::kNCHW;
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    OP_REQUIRES_OK(context, CheckRank4("input", input));
    const int rows = layout_ == Layout::kNHWC ? 1 : 2;
    const int64_t channels = input.dim_size(layout_ == Layout::kNHWC ? 3 : 1);
    const int64_t positions = input.dim_size(rows) * input.dim_size(rows + 1);
    Tensor* output;
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            0,
            tensorflow::TensorShape({input.dim_size(0), input.dim_size(rows),
                                     input.dim_size(rows + 1)}),
            &output));
    const int64_t count = output->NumElements();
    if (count == 0) return;
    double* sums = output->flat<double>().data();
    const auto* values = ElementsOf<T>(input);
    const auto kernels = KernelsFor<RowsKernels<typename KernelType<T>::type>>(
        ChosenInstructionSet());
    UnitQueue queue(DivideUp(count, kPositions), 1);
    const auto work = static_cast<double>(input.NumElements());
    RunOnCpu(context)(UsefulWorkers(work, CpuThreads(context)), [&] {
      queue.Run([&](int64_t begin, int64_t end) {
        const int64_t first = begin * kPositions;
        const int64_t last = std::min(end * kPositions, count);
        kernels.square_sums(layout_, values, positions, channels, first, last,
                            sums);
      });
    });
  }

 private:
  Layout layout_;
};

TF_APPROXGRAD_REGISTER(Name("ApproxSquareSums").Device(tensorflow::DEVICE_CPU),
                       SquareSumsOp);

}  // namespace
}  // namespace tf_approxgrad
