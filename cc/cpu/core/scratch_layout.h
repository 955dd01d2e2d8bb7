// How a piece of scratch memory is divided.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_SCRATCH_LAYOUT_H_
#define TF_APPROXGRAD_CC_CPU_CORE_SCRATCH_LAYOUT_H_

#include <cstdint>

namespace tf_approxgrad {

// Rounded up to whole cache lines.
inline int64_t LineBytes(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Places arrays one after the other, each at a cache line's beginning. With no
// memory it only counts the bytes.
class ScratchLayout {
 public:
  explicit ScratchLayout(void* memory) : memory_(static_cast<char*>(memory)) {}

  template <typename Element>
  void Place(Element** array, int64_t count) {
    *array = memory_ == nullptr ? nullptr
                                : reinterpret_cast<Element*>(memory_ + bytes_);
    bytes_ += LineBytes(count * static_cast<int64_t>(sizeof(Element)));
  }

  int64_t bytes() const { return bytes_; }

 private:
  char* memory_;
  int64_t bytes_ = 0;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_SCRATCH_LAYOUT_H_
