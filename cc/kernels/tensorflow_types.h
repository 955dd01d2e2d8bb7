// The kernels' names for TensorFlow's element types. For the *_kernel.cc files,
// which include TensorFlow; the kernels don't.

#ifndef TF_APPROXGRAD_CC_KERNELS_TENSORFLOW_TYPES_H_
#define TF_APPROXGRAD_CC_KERNELS_TENSORFLOW_TYPES_H_

#include "cc/kernels/float_types.h"
#include "tensorflow/core/framework/register_types.h"

namespace tf_approxgrad {

template <typename T>
struct KernelType {
  using type = T;
};
template <>
struct KernelType<Eigen::bfloat16> {
  using type = Bfloat16;
};
template <>
struct KernelType<Eigen::half> {
  using type = Half;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_TENSORFLOW_TYPES_H_
