// The OpKernels of ApproxWinogradConv2DBackpropFilter and
// ApproxTileSampledConv2DBackpropFilter on the CPU.

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cc/common/geometry.h"
#include "cc/common/random_stream.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/winograd/filter_gradient.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/cpu/winograd/tile_sampler.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/random_stream_op.h"
#include "cc/kernels/winograd_op.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

const float* FloatsOf(OpKernelContext* context, int input) {
  return context->input(input).flat<float>().data();
}

class WinogradFilterOp : public ConvOp {
 public:
  using ConvOp::ConvOp;

  void Compute(OpKernelContext* context) override {
    ConvGeometry geometry;
    OP_REQUIRES_OK(context,
                   FilterBackpropGeometry(attributes(), context, &geometry));
    OP_REQUIRES_OK(context, CheckWinogradApplies(geometry));
    Tensor* output;
    OP_REQUIRES_OK(context, AllocateFilter(context, geometry, &output));
    if (output->NumElements() == 0) return;
    ComputeFilter(context, geometry, output);
  }

 protected:
  // With positive numbers of channels.
  virtual void ComputeFilter(OpKernelContext* context,
                             const ConvGeometry& geometry, Tensor* output) {
    ComputeFrom(context, geometry, nullptr, output);
  }

  // Of drawn tiles, or of all.
  static void ComputeFrom(OpKernelContext* context,
                          const ConvGeometry& geometry, const DrawnRows* drawn,
                          Tensor* output) {
    const WinogradFilterGradient gradient(
        geometry, CpuThreads(context), ChosenInstructionSet(),
        drawn == nullptr ? kAllTiles : drawn->count);
    Tensor scratch;
    OP_REQUIRES_OK(
        context, AllocateScratch(context, gradient.scratch_bytes(), &scratch));
    gradient.Compute(FloatsOf(context, 0), FloatsOf(context, 2),
                     scratch.flat<int8_t>().data(),
                     output->flat<float>().data(), RunOnCpu(context), drawn);
  }
};

// Input 3 is the step, input 4 the number of draws.
class TileSampledFilterOp : public WinogradFilterOp {
 public:
  explicit TileSampledFilterOp(tensorflow::OpKernelConstruction* context)
      : WinogradFilterOp(context) {
    OP_REQUIRES_OK(context, ReadRandomStream(context, &stream_));
  }

 protected:
  void ComputeFilter(OpKernelContext* context, const ConvGeometry& geometry,
                     Tensor* output) override {
    OP_REQUIRES_OK(context, CheckStepAndDraws(context));
    RandomStream stream = stream_;
    OP_REQUIRES_OK(context, ReadStep(context->input(3), &stream));
    const int64_t draws = context->input(4).scalar<int64_t>()();
    const int64_t tiles = CutIntoTiles(geometry).tiles;
    if (geometry.input_size() == 0 || tiles == 0) {
      output->flat<float>().setZero();
      return;
    }
    OP_REQUIRES_OK(context, CheckDraws(draws, tiles, "tiles"));
    const TileSampler sampler(geometry, draws, CpuThreads(context));
    Tensor scratch;
    OP_REQUIRES_OK(context,
                   AllocateScratch(context, sampler.scratch_bytes(), &scratch));
    DrawnRows drawn;
    if (sampler.Draw(UniformOf(stream, kTilesKey), FloatsOf(context, 0),
                     FloatsOf(context, 2), scratch.flat<int8_t>().data(),
                     RunOnCpu(context), &drawn)) {
      ComputeFrom(context, geometry, &drawn, output);
    } else {
      output->flat<float>().setConstant(
          std::numeric_limits<float>::quiet_NaN());
    }
  }

 private:
  RandomStream stream_;
};

#define REGISTER(name, kernel)                                              \
  REGISTER_KERNEL_BUILDER(                                                  \
      Name(name).Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"), \
      kernel)
REGISTER("ApproxWinogradConv2DBackpropFilter", WinogradFilterOp);
REGISTER("ApproxTileSampledConv2DBackpropFilter", TileSampledFilterOp);
#undef REGISTER

}  // namespace
}  // namespace tf_approxgrad
