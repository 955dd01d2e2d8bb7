#include "cc/common/row_draw.h"

#include <algorithm>

#include "cc/common/philox-inl.h"
#include "cc/common/target.h"

namespace tf_approxgrad {
namespace {

constexpr int64_t kPartsOfGroup = kRowGroup / kRowPart;

}  // namespace

double UniformOf(const RandomStream& stream, uint32_t key) {
  uint32_t key0 = static_cast<uint32_t>(stream.seed);
  uint32_t key1 = static_cast<uint32_t>(stream.seed >> 32) ^ key;
  uint32_t words[4] = {0, stream.layer, static_cast<uint32_t>(stream.step),
                       static_cast<uint32_t>(stream.step >> 32)};
  using namespace TF_APPROXGRAD_TARGET;
  for (int round = 0; round < 10; ++round) {
    PhiloxRound(key0, key1, &words[0], &words[1], &words[2], &words[3]);
    key0 += kIncrement0;
    key1 += kIncrement1;
  }
  const uint64_t bits = (uint64_t{words[0]} << 32 | words[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

void AddUpParts(int64_t parts, double* part_sums, double* group_sums) {
  double group_sum = 0;
  int64_t group = 0;
  for (int64_t part = 0; part < parts; ++group) {
    double running = 0;
    const int64_t end = std::min(part + kPartsOfGroup, parts);
    for (; part < end; ++part) {
      const double sum = part_sums[part];
      part_sums[part] = running;
      running += sum;
    }
    group_sums[group] = group_sum;
    group_sum += running;
  }
  group_sums[group] = group_sum;
}

}  // namespace tf_approxgrad
