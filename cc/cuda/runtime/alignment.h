// Whether kernels may read and write whole vectors.

#ifndef TF_APPROXGRAD_CC_CUDA_RUNTIME_ALIGNMENT_H_
#define TF_APPROXGRAD_CC_CUDA_RUNTIME_ALIGNMENT_H_

#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace tf_approxgrad {

// Bytes of a vector, and what its address must be a multiple of.
constexpr uintptr_t kVectorAlignment = 16;

inline bool AreAligned(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(), [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % kVectorAlignment == 0;
  });
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_RUNTIME_ALIGNMENT_H_
