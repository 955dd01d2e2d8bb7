// The OpKernel of ApproxRandomFilterGradient.

#include <cmath>
#include <cstdint>

#include "cc/kernels/random_normal.h"
#include "cc/kernels/tensorflow_types.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// About what a group of numbers costs, for the thread pool.
constexpr int64_t kCyclesPerGroup = 4 * kNormalGroup;

template <typename T>
class ApproxRandomFilterGradientOp : public OpKernel {
 public:
  explicit ApproxRandomFilterGradientOp(OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("seed", &seed_));
    OP_REQUIRES_OK(context, context->GetAttr("layer", &layer_));
    OP_REQUIRES_OK(context, context->GetAttr("stddev", &stddev_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("mean_over_batch", &mean_over_batch_));
    OP_REQUIRES(context, std::isfinite(stddev_) && stddev_ >= 0,
                InvalidArgument("stddev is ", stddev_,
                                ", but it must be finite and at least 0"));
    OP_REQUIRES(context, layer_ >= 0 && layer_ <= UINT32_MAX,
                InvalidArgument("layer is ", layer_,
                                ", but it must be from 0 to ", UINT32_MAX));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& filter_sizes = context->input(0);
    const Tensor& out_backprop = context->input(1);
    const Tensor& step = context->input(2);
    OP_REQUIRES(context,
                filter_sizes.dims() == 1 && filter_sizes.NumElements() == 4,
                InvalidArgument("filter_sizes has the shape ",
                                filter_sizes.shape().DebugString(),
                                ", but it must be a vector of 4 elements"));
    OP_REQUIRES(context, out_backprop.dims() == 4,
                InvalidArgument("out_backprop has the shape ",
                                out_backprop.shape().DebugString(),
                                ", but it must have 4 axes"));
    OP_REQUIRES(
        context, step.dims() == 0,
        InvalidArgument("step has the shape ", step.shape().DebugString(),
                        ", but it must be a scalar"));
    TensorShape shape;
    OP_REQUIRES_OK(context, tensorflow::TensorShapeUtils::MakeShape(
                                filter_sizes.vec<int32_t>(), &shape));
    const int64_t size = shape.num_elements();
    OP_REQUIRES(context, size <= kMostNormals,
                InvalidArgument("filter_sizes has ", size,
                                " elements, but there can be ", kMostNormals,
                                " at most"));
    Tensor* output;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    if (size == 0) return;

    using Stored = typename KernelType<T>::type;
    const int64_t batch = out_backprop.dim_size(0);
    double stddev = stddev_;
    // As all methods, zeros for an empty batch.
    if (mean_over_batch_) stddev = batch == 0 ? 0 : stddev / batch;
    const NormalStream stream{static_cast<uint64_t>(seed_),
                              static_cast<uint32_t>(layer_),
                              static_cast<uint64_t>(step.scalar<int64_t>()())};
    const FillNormal<Stored> fill =
        FillNormalFor<Stored>(ChosenInstructionSet());
    Stored* values = reinterpret_cast<Stored*>(output->flat<T>().data());
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    tensorflow::Shard(workers.num_threads, workers.workers, NormalGroups(size),
                      kCyclesPerGroup, [&](int64_t begin, int64_t end) {
                        fill(stream, stddev, begin, end, size, values);
                      });
  }

 private:
  int64_t seed_;
  int64_t layer_;
  float stddev_;
  bool mean_over_batch_;
};

#define TF_APPROXGRAD_REGISTER(T)                             \
  REGISTER_KERNEL_BUILDER(Name("ApproxRandomFilterGradient")  \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<T>("T"),        \
                          ApproxRandomFilterGradientOp<T>)
TF_APPROXGRAD_REGISTER(float);
TF_APPROXGRAD_REGISTER(double);
TF_APPROXGRAD_REGISTER(Eigen::bfloat16);
TF_APPROXGRAD_REGISTER(Eigen::half);
#undef TF_APPROXGRAD_REGISTER

}  // namespace
}  // namespace tf_approxgrad
