#include "cc/cpu/rows/product_plan.h"

#include <algorithm>

#include "cc/common/integer_math.h"
#include "cc/cpu/core/useful_workers.h"

namespace tf_approxgrad {
namespace {

// The largest dF that is made from pieces, in bytes of its sums; the most
// pieces, and the fewest rows of one.
constexpr int64_t kPieceBytes = 192 * 1024;
constexpr int64_t kMostPieces = 32;
constexpr int64_t kPieceRows = 2 * kProductRows;

// Channels below which a line of X, or a panel, is cut.
constexpr int64_t kFewestIn = 16;
constexpr int64_t kFewestOut = 32;

// The size of `chunks` equal chunks of `count` channels, a multiple of `unit`.
int64_t ChunkSize(int64_t count, int64_t chunks, int64_t unit) {
  return RoundUp(DivideUp(count, chunks), unit);
}

}  // namespace

int64_t UsefulProductWorkers(const ConvGeometry& g, int64_t draws,
                             int64_t threads) {
  return UsefulWorkers(
      static_cast<double>(g.output_size()) +
          static_cast<double>(draws) * g.filter_size() * g.out_depth,
      threads);
}

ProductPlan PlanProduct(const ConvGeometry& g, int64_t draws,
                        int64_t accumulator_bytes, int64_t workers,
                        const CacheSizes& caches) {
  ProductPlan plan;
  const int64_t blocks = DivideUp(draws, kProductRows);
  plan.piece_blocks = blocks;
  const int64_t filter_bytes =
      g.filter_size() * g.out_depth * accumulator_bytes;
  plan.streams_filter = filter_bytes > caches.level2;
  if (filter_bytes <= kPieceBytes) {
    const int64_t most = std::min(kMostPieces, DivideUp(draws, kPieceRows));
    plan.piece_blocks = DivideUp(blocks, most);
    plan.pieces = DivideUp(blocks, plan.piece_blocks);
  }
  // Output channels in as few chunks as the sums of the fewest input channels
  // allow, then input channels likewise; more of both for threads without work.
  const int64_t most_sums = caches.level2 / 3 / accumulator_bytes / g.taps();
  const int64_t fewest_in = std::min(kFewestIn, g.in_depth);
  int64_t out_chunks = DivideUp(g.out_depth * fewest_in, most_sums);
  plan.out_channels = ChunkSize(g.out_depth, out_chunks, kFewestOut);
  int64_t in_chunks = DivideUp(g.in_depth * plan.out_channels, most_sums);
  plan.in_channels = ChunkSize(g.in_depth, in_chunks, kFewestIn);
  const auto chunks = [&] {
    plan.in_chunks = DivideUp(g.in_depth, plan.in_channels);
    plan.out_chunks = DivideUp(g.out_depth, plan.out_channels);
    return plan.units();
  };
  while (chunks() < 2 * workers && plan.in_channels > kFewestIn) {
    plan.in_channels = ChunkSize(plan.in_channels, 2, kFewestIn);
  }
  while (chunks() < 2 * workers && plan.out_channels > kFewestOut) {
    plan.out_channels = ChunkSize(plan.out_channels, 2, kFewestOut);
  }
  return plan;
}

}  // namespace tf_approxgrad
