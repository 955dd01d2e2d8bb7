// Interface of the op ApproxAwaitBackprop: registration, documentation and
// shape function.

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"

namespace tf_approxgrad {
namespace {

REGISTER_OP("ApproxAwaitBackprop")
    .Input("gradient: T")
    .Input("out_backprop: T")
    .Output("output: T")
    .Attr("T: {half, bfloat16, float, double}")
    .SetShapeFn(tensorflow::shape_inference::UnchangedShape)
    .Doc(R"doc(
Returns `gradient` once `out_backprop` has been computed.

A filter gradient that doesn't read `out_backprop`, such as zero, is ready before
the forward pass has begun. In a branch of a conditional that is dangerous:
TensorFlow's graph optimizer assumes that whatever follows the conditional runs
after all of the conditional's inputs, and drops the edge that keeps an update of the
filters behind the forward pass's reading of them. Lowered to switches, the
conditional waits for nothing that the branch doesn't use, and the forward pass may
read filters that are updated already. This op uses `out_backprop`, which restores
the dependency; no optimizer removes it.

gradient: Any tensor.
out_backprop: Any tensor; its values aren't read.
output: The same tensor as `gradient`.
)doc");

}  // namespace
}  // namespace tf_approxgrad
