// The OpKernel of ApproxRowSampledConv2DBackpropFilter on the CPU.

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/rows/filter_gradient.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/rows_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T>
class RowsFilterOp : public RowsOp {
 public:
  using RowsOp::RowsOp;

  void Compute(OpKernelContext* context) override {
    ConvGeometry geometry;
    OP_REQUIRES_OK(context,
                   FilterBackpropGeometry(attributes(), context, &geometry));
    OP_REQUIRES_OK(context, CheckStepAndDraws(context));
    Tensor* output;
    OP_REQUIRES_OK(context, AllocateFilter(context, geometry, &output));
    if (output->NumElements() == 0) return;
    if (geometry.output_size() == 0 || geometry.input_size() == 0) {
      output->flat<T>().setZero();
      return;
    }
    RowSampling sampling;
    OP_REQUIRES_OK(context, ReadSampling(context, geometry, &sampling));
    const RowsFilterGradient<typename KernelType<T>::type> gradient(
        geometry, sampling, CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(
        context, AllocateScratch(context, gradient.scratch_bytes(), &scratch));
    gradient.Compute(
        scale(geometry), uniform(context), ElementsOf<T>(context->input(0)),
        ElementsOf<T>(context->input(2)), scratch.flat<int8_t>().data(),
        ElementsOf<T>(output), RunOnCpu(context));
  }
};

TF_APPROXGRAD_REGISTER(
    Name("ApproxRowSampledConv2DBackpropFilter").Device(tensorflow::DEVICE_CPU),
    RowsFilterOp);

}  // namespace
}  // namespace tf_approxgrad
