// The OpKernel of ApproxSampleRows on the GPU: where TensorFlow's stream and
// allocator meet the CUDA kernels.

// First, for it chooses what TensorFlow's headers define.
// clang-format off
#include "cc/kernels/gpu_op.h"
// clang-format on

#include <cstdint>
#include <string>

#include "cc/common/float_types.h"
#include "cc/cuda/rows/sampling.h"
#include "cc/kernels/sample_rows_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "cc/ops/conv_attributes.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T>
class SampleRowsGpuOp : public SampleRowsOp {
 public:
  using SampleRowsOp::SampleRowsOp;

 protected:
  void SetZero(OpKernelContext* context, Tensor* output) override {
    // All bits zero are 0 in every type.
    OP_REQUIRES_OK(context, CudaStatus("clearing the drawn rows",
                                       cudaMemsetAsync(output->data(), 0,
                                                       output->TotalBytes(),
                                                       StreamOf(context))));
  }

  void Run(OpKernelContext* context, const SampleRowsCall& call,
           Tensor* patches, Tensor* rows) override {
    using Stored = typename KernelType<T>::type;
    using Accumulator = typename AccumulatorOf<Stored>::type;
    const std::string problem =
        CudaRowSamplingProblem(call.geometry, call.sampling.draws);
    OP_REQUIRES(context, problem.empty(), InvalidArgument(problem));
    const CudaRowSampling<Stored> sampler(call.geometry, call.sampling);
    Tensor scratch;
    OP_REQUIRES_OK(context, context->allocate_temp(
                                tensorflow::DT_UINT8,
                                tensorflow::TensorShape({static_cast<int64_t>(
                                    sampler.scratch_bytes())}),
                                &scratch));
    OP_REQUIRES_OK(
        context,
        CudaStatus(
            "drawing rows",
            sampler.Compute(
                call.uniform,
                static_cast<const Stored*>(context->input(0).data()),
                static_cast<const Stored*>(context->input(2).data()),
                scratch.data(), static_cast<Accumulator*>(patches->data()),
                static_cast<Accumulator*>(rows->data()), StreamOf(context))));
  }
};

TF_APPROXGRAD_REGISTER(Name("ApproxSampleRows")
                           .Device(tensorflow::DEVICE_GPU)
                           .HostMemory("filter_sizes")
                           .HostMemory("step")
                           .HostMemory("draws"),
                       SampleRowsGpuOp);

}  // namespace
}  // namespace tf_approxgrad
