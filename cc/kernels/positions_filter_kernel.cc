// The OpKernel of ApproxConv2DBackpropFilter and
// ApproxSampledConv2DBackpropFilter on the CPU: where TensorFlow's
// tensors, allocator and threads meet the kernels.

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cpu/positions/filter_gradient.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/positions_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T>
class CpuPositionsFilterOp : public PositionsFilterOp {
 public:
  using PositionsFilterOp::PositionsFilterOp;

 protected:
  void SetZero(OpKernelContext*, Tensor* output) override {
    output->flat<T>().setZero();
  }

  void Run(OpKernelContext* context, const ConvGeometry& geometry,
           const Selection& selection, double scale, const Tensor& input,
           const Tensor& out_backprop, Tensor* output) override {
    const PositionsFilterGradient<typename KernelType<T>::type> gradient(
        geometry, selection, CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(
        context, AllocateScratch(context, gradient.scratch_bytes(), &scratch));
    gradient.Compute(scale, ElementsOf<T>(input), ElementsOf<T>(out_backprop),
                     scratch.flat<int8_t>().data(), ElementsOf<T>(output),
                     RunOnCpu(context));
  }
};

TF_APPROXGRAD_REGISTER(
    Name("ApproxConv2DBackpropFilter").Device(tensorflow::DEVICE_CPU),
    CpuPositionsFilterOp);
TF_APPROXGRAD_REGISTER(
    Name("ApproxSampledConv2DBackpropFilter").Device(tensorflow::DEVICE_CPU),
    CpuPositionsFilterOp);

}  // namespace
}  // namespace tf_approxgrad
