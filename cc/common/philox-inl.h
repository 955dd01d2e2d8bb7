// One round of Philox4x32, for one block.

#ifndef TF_APPROXGRAD_CC_COMMON_PHILOX_INL_H_
#define TF_APPROXGRAD_CC_COMMON_PHILOX_INL_H_

#include <cstdint>

#include "cc/common/host_device.h"
#include "cc/common/target.h"

TF_APPROXGRAD_BEGIN_TARGET_WITHOUT_FMA();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Multipliers and key increments of Philox4x32.
constexpr uint32_t kMultiplier0 = 0xD2511F53;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kIncrement0 = 0x9E3779B9;
constexpr uint32_t kIncrement1 = 0xBB67AE85;

// One round of a block's four words under the round's key.
TF_APPROXGRAD_HOST_DEVICE inline void PhiloxRound(uint32_t key0, uint32_t key1,
                                                  uint32_t* w0, uint32_t* w1,
                                                  uint32_t* w2, uint32_t* w3) {
  const uint64_t product0 = uint64_t{kMultiplier0} * *w0;
  const uint64_t product1 = uint64_t{kMultiplier1} * *w2;
  const uint32_t high0 = static_cast<uint32_t>(product0 >> 32);
  const uint32_t high1 = static_cast<uint32_t>(product1 >> 32);
  *w0 = high1 ^ *w1 ^ key0;
  *w1 = static_cast<uint32_t>(product1);
  *w2 = high0 ^ *w3 ^ key1;
  *w3 = static_cast<uint32_t>(product0);
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_COMMON_PHILOX_INL_H_
