// Philox4x32, for one block; included inside the namespace of an instruction
// set or of the GPU. The including file has included host_device.h before.

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
