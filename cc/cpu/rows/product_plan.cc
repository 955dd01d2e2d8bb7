#include "cc/cpu/rows/product_plan.h"

#include <algorithm>

#include "cc/common/integer_math.h"
#include "cc/cpu/core/useful_workers.h"

namespace tf_approxgrad {
namespace {

// Pieces are made of a dF of at most kPieceBytes, in bytes of its sums, by at
// least kPieceRows rows; of a larger one, whose sums take longer to write and
// to add up, by kLongPieceRows, and at most as many as have kAllPieceBytes.
constexpr int64_t kMostPieces = 32;
constexpr int64_t kPieceBytes = 192 * 1024;
constexpr int64_t kAllPieceBytes = kMostPieces * kPieceBytes;
constexpr int64_t kPieceRows = 8 * kProductRows;
constexpr int64_t kLongPieceRows = 16 * kProductRows;

// Channels of a unit. A vector of dY that is packed meets all taps and input
// channels of it, a gathered line of X the output channels: kManyOut of these
// are enough.
constexpr int64_t kFewestIn = 16;
constexpr int64_t kFewestOut = 32;
constexpr int64_t kManyOut = 256;

// What packing a vector of dY takes, in multiply-adds of a vector.
constexpr double kPackingWork = 12;

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
  const int64_t most =
      filter_bytes <= kPieceBytes
          ? std::min(kMostPieces, DivideUp(draws, kPieceRows))
          : std::min(kAllPieceBytes / filter_bytes, draws / kLongPieceRows);
  if (most > 1) {
    plan.piece_blocks = DivideUp(blocks, most);
    plan.pieces = DivideUp(blocks, plan.piece_blocks);
  }
  const int64_t most_sums =
      std::max<int64_t>(caches.level2 / 3 / accumulator_bytes / g.taps(), 1);
  plan.out_channels = ChunkSize(
      g.out_depth,
      std::max(
          DivideUp(g.out_depth, kManyOut),
          DivideUp(g.out_depth * std::min(kFewestIn, g.in_depth), most_sums)),
      kFewestOut);
  const auto chunks = [&] {
    plan.in_chunks = DivideUp(g.in_depth, plan.in_channels);
    plan.out_chunks = DivideUp(g.out_depth, plan.out_channels);
    return plan.units();
  };
  // As many input channels as keep every thread busy to the end, within what
  // the sums may take.
  const int64_t most_in = RoundUp(
      std::min(DivideUp(most_sums, plan.out_channels), g.in_depth), kFewestIn);
  double least_work = 0;
  int64_t best = kFewestIn;
  for (int64_t in = kFewestIn; in <= most_in; in += kFewestIn) {
    plan.in_channels = in;
    const double work =
        static_cast<double>(DivideUp(chunks(), workers)) *
        (static_cast<double>(std::min(in, g.in_depth) * g.taps()) +
         kPackingWork);
    if (in > kFewestIn && work > least_work) continue;
    least_work = work;
    best = in;
  }
  plan.in_channels = best;
  while (chunks() < workers && plan.out_channels > kFewestOut) {
    plan.out_channels = ChunkSize(plan.out_channels, 2, kFewestOut);
  }
  return plan;
}

}  // namespace tf_approxgrad
