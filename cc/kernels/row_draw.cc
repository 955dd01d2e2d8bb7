#include "cc/kernels/row_draw.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cc/kernels/host_device.h"

namespace tf_approxgrad {
namespace {

#include "cc/kernels/philox_impl.h"

constexpr uint64_t kStream = uint64_t{0x524F5753} << 32;
constexpr int64_t kPartsOfBlock = kRowBlock / kRowPart;

// Calls add(part, row) for the rows of each whole block, one of each part by
// turns, and for those of the last, which may be shorter.
template <typename Add>
void ForEachInTurns(int64_t first, int64_t last, const Add& add) {
  if (last - first == kRowBlock) {
    for (int64_t i = 0; i < kRowPart; ++i) {
#pragma GCC unroll 4
      for (int64_t part = 0; part < kPartsOfBlock; ++part) {
        add(part, first + part * kRowPart + i);
      }
    }
  } else {
    for (int64_t row = first; row < last; ++row) {
      add((row - first) / kRowPart, row);
    }
  }
}

}  // namespace

double UniformOf(uint64_t seed, uint32_t layer, uint64_t step) {
  const uint64_t key = seed ^ kStream;
  uint32_t key0 = static_cast<uint32_t>(key);
  uint32_t key1 = static_cast<uint32_t>(key >> 32);
  uint32_t words[4] = {0, layer, static_cast<uint32_t>(step),
                       static_cast<uint32_t>(step >> 32)};
  for (int round = 0; round < 10; ++round) {
    PhiloxRound(key0, key1, &words[0], &words[1], &words[2], &words[3]);
    key0 += kIncrement0;
    key1 += kIncrement1;
  }
  const uint64_t bits = (uint64_t{words[0]} << 32 | words[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

double LimitOfLargest(const double* size, int64_t rows, int64_t draws) {
  double limit = std::numeric_limits<double>::infinity();
  int64_t whole_before = -1;
  for (int pass = 0; pass < kLimitPasses; ++pass) {
    // Several sums, for an addition waits for the one before.
    constexpr int kSums = 8;
    double sums[kSums] = {};
    int64_t whole = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const bool is_whole = size[row] >= limit;
      whole += is_whole;
      sums[row % kSums] += is_whole ? 0.0 : size[row];
    }
    double others = 0;
    for (double sum : sums) others += sum;
    // Another pass would find the same.
    if (whole == whole_before || whole >= draws || !(others > 0)) break;
    whole_before = whole;
    limit = std::min(others / static_cast<double>(draws - whole), limit);
  }
  return limit;
}

int64_t RowDraw::EndOf(double running_sum) const {
  const double end = running_sum * rate + uniform;
  return std::min(static_cast<int64_t>(end), draws);
}

void SumParts(const double* size, int64_t rows, int64_t begin, int64_t end,
              double* part_sums) {
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kRowBlock;
    const int64_t last = std::min(first + kRowBlock, rows);
    double sums[kPartsOfBlock] = {};
    ForEachInTurns(first, last,
                   [&](int64_t part, int64_t row) { sums[part] += size[row]; });
    const int64_t parts = RowParts(last - first);
    for (int64_t part = 0; part < parts; ++part) {
      part_sums[block * kPartsOfBlock + part] = sums[part];
    }
  }
}

void AddUpParts(int64_t parts, double* part_sums) {
  double running = 0;
  for (int64_t part = 0; part < parts; ++part) {
    const double sum = part_sums[part];
    part_sums[part] = running;
    running += sum;
  }
  part_sums[parts] = running;
}

void DrawRows(const RowDraw& draw, const double* size, int64_t rows,
              const double* running_sums, int64_t begin, int64_t end,
              int64_t* drawn) {
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kRowBlock;
    const int64_t last = std::min(first + kRowBlock, rows);
    const double* before = running_sums + block * kPartsOfBlock;
    int64_t ends[kRowBlock];
    double sums[kPartsOfBlock] = {};
    ForEachInTurns(first, last, [&](int64_t part, int64_t row) {
      sums[part] += size[row];
      ends[row - first] = draw.EndOf(before[part] + sums[part]);
    });
    // The rows that are drawn, found without a branch that nobody can foresee.
    int64_t found[kRowBlock + 1];
    int64_t count = 0;
    int64_t place = draw.EndOf(before[0]);
    for (int64_t i = 0, previous = place; i < last - first; ++i) {
      found[count] = i;
      count += ends[i] != previous;
      previous = ends[i];
    }
    for (int64_t i = 0; i < count; ++i) {
      for (; place < ends[found[i]]; ++place) drawn[place] = first + found[i];
    }
  }
}

}  // namespace tf_approxgrad
