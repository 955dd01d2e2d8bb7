// The kernels' names for TensorFlow's element types, and the registration of an
// OpKernel for each.

#ifndef TF_APPROXGRAD_CC_KERNELS_TENSORFLOW_TYPES_H_
#define TF_APPROXGRAD_CC_KERNELS_TENSORFLOW_TYPES_H_

#include "cc/common/float_types.h"
#include "tensorflow/core/framework/op_kernel.h"
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

// The elements of a tensor under the kernels' name of their type.
template <typename T>
const typename KernelType<T>::type* ElementsOf(
    const tensorflow::Tensor& tensor) {
  return reinterpret_cast<const typename KernelType<T>::type*>(
      tensor.flat<T>().data());
}

template <typename T>
typename KernelType<T>::type* ElementsOf(tensorflow::Tensor* tensor) {
  return reinterpret_cast<typename KernelType<T>::type*>(
      tensor->flat<T>().data());
}

}  // namespace tf_approxgrad

// Registers KERNEL<T>, for each type T of the attribute "T", as what BUILDER
// says: Name("...").Device(...).
#define TF_APPROXGRAD_REGISTER(BUILDER, KERNEL)                               \
  REGISTER_KERNEL_BUILDER(BUILDER.TypeConstraint<float>("T"), KERNEL<float>); \
  REGISTER_KERNEL_BUILDER(BUILDER.TypeConstraint<double>("T"),                \
                          KERNEL<double>);                                    \
  REGISTER_KERNEL_BUILDER(BUILDER.TypeConstraint<Eigen::half>("T"),           \
                          KERNEL<Eigen::half>);                               \
  REGISTER_KERNEL_BUILDER(BUILDER.TypeConstraint<Eigen::bfloat16>("T"),       \
                          KERNEL<Eigen::bfloat16>)

#endif  // TF_APPROXGRAD_CC_KERNELS_TENSORFLOW_TYPES_H_
