// The OpKernel of ApproxSampleRows on the CPU, by one thread: the op is for the
// GPU, and comes here only where a graph that was traced beside one runs on the
// CPU after all.

#include <cstdint>
#include <cstring>

#include "cc/common/float_types.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/rows/gathered_rows.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/kernels/sample_rows_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T>
class SampleRowsCpuOp : public SampleRowsOp {
 public:
  using SampleRowsOp::SampleRowsOp;

 protected:
  void SetZero(OpKernelContext*, Tensor* output) override {
    // All bits zero are 0 in every type.
    std::memset(output->data(), 0, output->TotalBytes());
  }

  void Run(OpKernelContext* context, const SampleRowsCall& call,
           Tensor* patches, Tensor* rows) override {
    using Stored = typename KernelType<T>::type;
    using Accumulator = typename AccumulatorOf<Stored>::type;
    const GatheredRows<Stored> samples(
        call.geometry, call.sampling,
        KernelsFor<RowsKernels<Stored>>(ChosenInstructionSet()));
    Tensor scratch;
    OP_REQUIRES_OK(
        context,
        context->allocate_temp(
            tensorflow::DT_INT8,
            tensorflow::TensorShape({samples.scratch_bytes()}), &scratch));
    samples.Compute(call.uniform,
                    static_cast<const Stored*>(context->input(0).data()),
                    static_cast<const Stored*>(context->input(2).data()),
                    scratch.data(), static_cast<Accumulator*>(patches->data()),
                    static_cast<Accumulator*>(rows->data()));
  }
};

TF_APPROXGRAD_REGISTER(Name("ApproxSampleRows").Device(tensorflow::DEVICE_CPU),
                       SampleRowsCpuOp);

}  // namespace
}  // namespace tf_approxgrad
