// The filter as the input gradient reads it, in the accumulators' type: an
// output channel's input channels next to each other, in chunks.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_PACKED_FILTER_H_
#define TF_APPROXGRAD_CC_CPU_CORE_PACKED_FILTER_H_

#include <cstdint>

namespace tf_approxgrad {

// Distances in elements.
struct PackedFilter {
  // Input channels of a chunk, those beyond Ci being zeros.
  int64_t width;
  int64_t chunks;
  int64_t chunk_stride;
  int64_t tap_stride;
  // From one output channel to the next.
  int64_t channel_stride;

  int64_t size() const { return chunks * chunk_stride; }
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_PACKED_FILTER_H_
