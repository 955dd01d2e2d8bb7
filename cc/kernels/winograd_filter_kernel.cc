// The OpKernels of ApproxWinogradConv2DBackpropFilter and
// ApproxDrawnTilesConv2DBackpropFilter on the CPU.

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/winograd/filter_gradient.h"
#include "cc/kernels/conv_op.h"
#include "cc/kernels/cpu_workers.h"
#include "cc/kernels/winograd_op.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_approxgrad {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

class WinogradFilterOp : public ConvOp {
 public:
  using ConvOp::ConvOp;

  void Compute(OpKernelContext* context) override {
    ConvGeometry geometry;
    OP_REQUIRES_OK(context,
                   FilterBackpropGeometry(attributes(), context, &geometry));
    OP_REQUIRES_OK(context, CheckWinogradApplies(geometry));
    int64_t drawn_tiles = kAllTiles;
    DrawnTiles drawn;
    if (context->num_inputs() > 3) {
      OP_REQUIRES_OK(context, ReadDrawnTiles(context, CountTiles(geometry),
                                             &drawn_tiles, &drawn));
    }
    Tensor* output;
    OP_REQUIRES_OK(context, AllocateFilter(context, geometry, &output));
    if (output->NumElements() == 0) return;
    const WinogradFilterGradient gradient(geometry, CpuThreads(context),
                                          ChosenInstructionSet(), drawn_tiles);
    Tensor scratch;
    OP_REQUIRES_OK(
        context, AllocateScratch(context, gradient.scratch_bytes(), &scratch));
    gradient.Compute(context->input(0).flat<float>().data(),
                     context->input(2).flat<float>().data(),
                     scratch.flat<int8_t>().data(),
                     output->flat<float>().data(), RunOnCpu(context), drawn);
  }

 private:
  // Reads inputs 3 and 4.
  static absl::Status ReadDrawnTiles(OpKernelContext* context,
                                     int64_t all_tiles, int64_t* count,
                                     DrawnTiles* drawn) {
    const Tensor& tiles = context->input(3);
    const Tensor& weights = context->input(4);
    if (tiles.dims() != 1 || weights.dims() != 1 ||
        tiles.NumElements() != weights.NumElements()) {
      return InvalidArgument("tiles and weights have the shapes ",
                             tiles.shape().DebugString(), " and ",
                             weights.shape().DebugString(),
                             ", but they must be vectors of the same length");
    }
    const auto numbers = tiles.vec<int32_t>();
    // An empty gradient has no tiles to draw.
    *count = all_tiles == 0 ? 0 : tiles.NumElements();
    for (int64_t i = 0; i < *count; ++i) {
      if (numbers(i) < 0 || numbers(i) >= all_tiles) {
        return InvalidArgument("tiles[", i, "] is ", numbers(i),
                               ", but it must be from 0 to ", all_tiles - 1);
      }
    }
    drawn->tiles = numbers.data();
    drawn->weights = weights.vec<float>().data();
    return absl::OkStatus();
  }
};

#define REGISTER(name)                                                      \
  REGISTER_KERNEL_BUILDER(                                                  \
      Name(name).Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"), \
      WinogradFilterOp)
REGISTER("ApproxWinogradConv2DBackpropFilter");
REGISTER("ApproxDrawnTilesConv2DBackpropFilter");
#undef REGISTER

}  // namespace
}  // namespace tf_approxgrad
