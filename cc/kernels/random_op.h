// What the OpKernels of ApproxRandomFilterGradient have in common on every
// device: attributes, checks, the output.

#ifndef TF_APPROXGRAD_CC_KERNELS_RANDOM_OP_H_
#define TF_APPROXGRAD_CC_KERNELS_RANDOM_OP_H_

#include <cmath>

#include "cc/common/normal_numbers.h"
#include "cc/common/random_stream.h"
#include "cc/kernels/random_stream_op.h"
#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {

class RandomFilterGradientOp : public tensorflow::OpKernel {
 public:
  explicit RandomFilterGradientOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadRandomStream(context, &stream_));
    OP_REQUIRES_OK(context, context->GetAttr("stddev", &stddev_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("mean_over_batch", &mean_over_batch_));
    OP_REQUIRES(context, std::isfinite(stddev_) && stddev_ >= 0,
                InvalidArgument("stddev is ", stddev_,
                                ", but it must be finite and at least 0"));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor& filter_sizes = context->input(0);
    const tensorflow::Tensor& out_backprop = context->input(1);
    OP_REQUIRES(context,
                filter_sizes.dims() == 1 && filter_sizes.NumElements() == 4,
                InvalidArgument("filter_sizes has the shape ",
                                filter_sizes.shape().DebugString(),
                                ", but it must be a vector of 4 elements"));
    OP_REQUIRES(context, out_backprop.dims() == 4,
                InvalidArgument("out_backprop has the shape ",
                                out_backprop.shape().DebugString(),
                                ", but it must have 4 axes"));
    RandomStream stream = stream_;
    OP_REQUIRES_OK(context, ReadStep(context->input(2), &stream));
    tensorflow::TensorShape shape;
    OP_REQUIRES_OK(context, tensorflow::TensorShapeUtils::MakeShape(
                                filter_sizes.vec<int32_t>(), &shape));
    const int64_t size = shape.num_elements();
    OP_REQUIRES(context, size <= kMostNormals,
                InvalidArgument("filter_sizes has ", size,
                                " elements, but there can be ", kMostNormals,
                                " at most"));
    tensorflow::Tensor* output;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    if (size == 0) return;

    const int64_t batch = out_backprop.dim_size(0);
    double stddev = stddev_;
    // As all methods, zeros for an empty batch.
    if (mean_over_batch_) stddev = batch == 0 ? 0 : stddev / batch;
    Fill(context, stream, stddev, output);
  }

 protected:
  // Writes all of `output`, which isn't empty.
  virtual void Fill(tensorflow::OpKernelContext* context,
                    const RandomStream& stream, double stddev,
                    tensorflow::Tensor* output) = 0;

 private:
  // Without the step.
  RandomStream stream_;
  float stddev_;
  bool mean_over_batch_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_RANDOM_OP_H_
