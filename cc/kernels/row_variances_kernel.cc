// The OpKernel of ApproxRowVariances on the CPU.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/rows/variances.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/random_stream_op.h"
#include "cc/kernels/tensorflow_types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

// Input 3 is the number of draws of each way to draw.
template <typename T>
class RowVariancesOp : public ConvOp {
 public:
  explicit RowVariancesOp(tensorflow::OpKernelConstruction* context)
      : ConvOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("probabilities", &probabilities_));
    OP_REQUIRES_OK(context, context->GetAttr("keep_largest", &keep_largest_));
    OP_REQUIRES(context, keep_largest_.size() == probabilities_.size(),
                InvalidArgument("keep_largest has ", keep_largest_.size(),
                                " elements, but probabilities has ",
                                probabilities_.size()));
  }

  void Compute(OpKernelContext* context) override {
    ConvGeometry geometry;
    OP_REQUIRES_OK(context,
                   FilterBackpropGeometry(attributes(), context, &geometry));
    const Tensor& draws = context->input(3);
    const auto count = static_cast<int64_t>(probabilities_.size());
    OP_REQUIRES(
        context, draws.dims() == 1 && draws.NumElements() == count,
        InvalidArgument("draws has the shape ", draws.shape().DebugString(),
                        ", but it must be a vector of ", count,
                        " elements, as probabilities has"));
    Tensor* output;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, draws.shape(), &output));
    double* variances = output->flat<double>().data();
    if (geometry.output_size() == 0 || geometry.input_size() == 0) {
      std::fill_n(variances, count, 0.0);
      return;
    }
    std::vector<RowSampling> samplings;
    OP_REQUIRES_OK(context,
                   ReadSamplings(draws, geometry.batch * geometry.positions(),
                                 &samplings));
    const RowVariances<typename KernelType<T>::type> of_rows(
        geometry, samplings, CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(context,
                   AllocateScratch(context, of_rows.scratch_bytes(), &scratch));
    of_rows.Compute(
        ElementsOf<T>(context->input(0)), ElementsOf<T>(context->input(2)),
        scratch.flat<int8_t>().data(), variances, RunOnCpu(context));
  }

 private:
  absl::Status ReadSamplings(const Tensor& draws, int64_t rows,
                             std::vector<RowSampling>* samplings) const {
    for (size_t i = 0; i < probabilities_.size(); ++i) {
      const int64_t count = draws.vec<int64_t>()(i);
      TF_RETURN_IF_ERROR(CheckDraws(count, rows, "rows"));
      samplings->push_back(
          {count, probabilities_[i] == "product", keep_largest_[i]});
    }
    return absl::OkStatus();
  }

  std::vector<std::string> probabilities_;
  std::vector<bool> keep_largest_;
};

TF_APPROXGRAD_REGISTER(
    Name("ApproxRowVariances").Device(tensorflow::DEVICE_CPU), RowVariancesOp);

}  // namespace
}  // namespace tf_approxgrad
