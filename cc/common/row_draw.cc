#include "cc/common/row_draw.h"

#include <algorithm>
#include <limits>

#include "cc/common/philox-inl.h"
#include "cc/common/target.h"

namespace tf_approxgrad {
namespace {

constexpr int64_t kPartsOfBlock = kRowBlock / kRowPart;
constexpr int64_t kPartsOfGroup = kRowGroup / kRowPart;

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

double AddLanes(double* lanes) {
  for (int64_t half = kRowBlock / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane)
      lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

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

double LimitOfLargest(const double* size, int64_t rows, int64_t draws) {
  double limit = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < kLimitPasses; ++pass) {
    LimitSums found{0, 0};
    double group_lanes[kRowBlock] = {};
    for (int64_t group = 0; group < RowGroups(rows); ++group) {
      double lanes[kRowBlock] = {};
      const int64_t end = std::min((group + 1) * kRowGroup, rows);
      for (int64_t row = group * kRowGroup; row < end; row += kRowBlock) {
        const int64_t count = std::min(kRowBlock, end - row);
        // Two loops, of which the compiler makes vectors: in one, it branched,
        // and nobody can foresee a size.
        int64_t whole = 0;
        for (int64_t lane = 0; lane < count; ++lane) {
          whole += size[row + lane] >= limit;
        }
        for (int64_t lane = 0; lane < count; ++lane) {
          const double one = size[row + lane];
          lanes[lane] += one >= limit ? 0.0 : one;
        }
        found.whole += whole;
      }
      group_lanes[group % kRowBlock] += AddLanes(lanes);
    }
    found.below = AddLanes(group_lanes);
    const double lower = LowerLimit(limit, found, draws);
    // Another pass would find the same.
    if (lower == limit) break;
    limit = lower;
  }
  return limit;
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

void DrawRows(const RowDraw& draw, const double* size, int64_t rows,
              const double* part_sums, const double* group_sums, int64_t begin,
              int64_t end, int64_t* drawn) {
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kRowBlock;
    const int64_t last = std::min(first + kRowBlock, rows);
    const double* before = part_sums + block * kPartsOfBlock;
    const double group_sum = group_sums[first / kRowGroup];
    int64_t ends[kRowBlock];
    double sums[kPartsOfBlock] = {};
    ForEachInTurns(first, last, [&](int64_t part, int64_t row) {
      sums[part] += size[row];
      ends[row - first] = draw.EndOf(group_sum + (before[part] + sums[part]));
    });
    // The rows that are drawn, found without a branch that nobody can foresee.
    int64_t found[kRowBlock + 1];
    int64_t count = 0;
    int64_t place = draw.EndOf(group_sum + before[0]);
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
