// The OpKernel of ApproxConv2DBackpropFilter on the CPU: where TensorFlow's
// tensors, allocator and threads meet the kernels.

#include <cstdint>
#include <functional>

#include "cc/kernels/backprop_filter_op.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/max_gradient.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_approxgrad {
namespace {

using tensorflow::DataTypeToEnum;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class ApproxConv2DBackpropFilterOp : public BackpropFilterOp {
 public:
  using BackpropFilterOp::BackpropFilterOp;

 protected:
  void SetZero(OpKernelContext*, Tensor* output) override {
    output->flat<T>().setZero();
  }

  void Run(OpKernelContext* context, const ConvGeometry& geometry, int64_t k,
           double scale, const Tensor& input, const Tensor& out_backprop,
           Tensor* output) override {
    using Stored = typename KernelType<T>::type;
    using Accumulator = typename AccumulatorOf<Stored>::type;
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    ParallelFor parallel_for;
    parallel_for.workers = workers.num_threads;
    parallel_for.run = [&workers](
                           int64_t units, int64_t cycles_per_unit,
                           const std::function<void(int64_t, int64_t)>& work) {
      tensorflow::Shard(workers.num_threads, workers.workers, units,
                        cycles_per_unit, work);
    };
    const MaxGradient<Stored> gradient(geometry, k, parallel_for.workers);
    Tensor positions;
    Tensor accumulators;
    OP_REQUIRES_OK(context,
                   context->allocate_temp(
                       tensorflow::DT_INT32,
                       TensorShape({gradient.positions_size()}), &positions));
    OP_REQUIRES_OK(context, context->allocate_temp(
                                DataTypeToEnum<Accumulator>::value,
                                TensorShape({gradient.accumulators_size()}),
                                &accumulators));
    gradient.Compute(
        scale, reinterpret_cast<const Stored*>(input.flat<T>().data()),
        reinterpret_cast<const Stored*>(out_backprop.flat<T>().data()),
        positions.flat<int32_t>().data(),
        accumulators.flat<Accumulator>().data(),
        reinterpret_cast<Stored*>(output->flat<T>().data()), parallel_for);
  }
};

#define TF_APPROXGRAD_REGISTER(T)                             \
  REGISTER_KERNEL_BUILDER(Name("ApproxConv2DBackpropFilter")  \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<T>("T"),        \
                          ApproxConv2DBackpropFilterOp<T>)
TF_APPROXGRAD_REGISTER(float);
TF_APPROXGRAD_REGISTER(double);
TF_APPROXGRAD_REGISTER(Eigen::bfloat16);
TF_APPROXGRAD_REGISTER(Eigen::half);
#undef TF_APPROXGRAD_REGISTER

}  // namespace
}  // namespace tf_approxgrad
