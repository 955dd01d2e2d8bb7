#include "cc/cpu/winograd/filter_gradient.h"

#include <algorithm>
#include <atomic>
#include <deque>

#include "cc/common/integer_math.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/useful_workers.h"

namespace tf_approxgrad {
namespace {

// Tiles of a shared block that a worker transforms at a time.
constexpr int64_t kTiles = 4;

}  // namespace

WinogradFilterGradient::WinogradFilterGradient(const ConvGeometry& geometry,
                                               int64_t threads,
                                               InstructionSet instruction_set,
                                               int64_t drawn_tiles)
    : geometry_(geometry),
      drawn_tiles_(drawn_tiles),
      kernels_(KernelsFor<WinogradKernels>(instruction_set)) {
  if (is_empty()) return;
  plan_ = PlanWinograd(geometry, kernels_.panel_width, drawn_tiles);
  workers_ = UsefulWorkers(WinogradWork(geometry, plan_.tiles), threads);
  if (!plan_.shares_panels) workers_ = std::min(workers_, plan_.pieces);
}

bool WinogradFilterGradient::is_empty() const {
  return geometry_.input_size() == 0 || geometry_.output_size() == 0 ||
         drawn_tiles_ == 0;
}

bool WinogradFilterGradient::keeps_sums() const {
  return !plan_.shares_panels || plan_.blocks > 1;
}

WinogradFilterGradient::Scratch WinogradFilterGradient::LayOut(
    ScratchLayout* layout) const {
  Scratch own;
  layout->Place(&own.zeros, std::max(geometry_.in_depth, geometry_.out_depth));
  layout->Place(&own.panels,
                (plan_.shares_panels ? 1 : workers_) * plan_.panels_size());
  const int64_t units = plan_.shares_panels ? plan_.chunks() : plan_.pieces;
  layout->Place(&own.sums,
                (keeps_sums() ? units : workers_) * plan_.sums_size());
  return own;
}

int64_t WinogradFilterGradient::scratch_bytes() const {
  if (is_empty()) return 0;
  ScratchLayout layout(nullptr);
  LayOut(&layout);
  return layout.bytes();
}

void WinogradFilterGradient::Compute(const float* input,
                                     const float* out_backprop, void* scratch,
                                     float* filter_backprop,
                                     const RunWorkers& run_workers,
                                     const DrawnRows* drawn) const {
  if (is_empty()) {
    std::fill_n(filter_backprop, geometry_.filter_size() * geometry_.out_depth,
                0.0f);
    return;
  }
  ScratchLayout layout(scratch);
  const Scratch own = LayOut(&layout);
  std::fill_n(own.zeros, std::max(geometry_.in_depth, geometry_.out_depth),
              0.0f);
  const WinogradTask task{geometry_, plan_,           input, out_backprop,
                          own.zeros, filter_backprop, drawn};
  if (plan_.shares_panels) {
    ComputeChunks(task, own, run_workers);
  } else {
    ComputePieces(task, own, run_workers);
  }
}

void WinogradFilterGradient::ComputePieces(
    const WinogradTask& task, const Scratch& own,
    const RunWorkers& run_workers) const {
  UnitQueue multiplying(plan_.pieces, 1);
  UnitQueue finishing(plan_.in_blocks, 1);
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    float* panels = own.panels + next_worker.fetch_add(1) * plan_.panels_size();
    multiplying.Run([&](int64_t begin, int64_t) {
      kernels_.multiply_piece(task, begin, panels,
                              own.sums + begin * plan_.sums_size());
    });
    finishing.Run([&](int64_t begin, int64_t) {
      kernels_.finish_in_block(task, own.sums, begin);
    });
  });
}

void WinogradFilterGradient::ComputeChunks(
    const WinogradTask& task, const Scratch& own,
    const RunWorkers& run_workers) const {
  std::deque<UnitQueue> transforming;
  std::deque<UnitQueue> multiplying;
  for (int64_t block = 0; block < plan_.blocks; ++block) {
    const int64_t tiles =
        std::min(plan_.block_tiles, plan_.tiles - block * plan_.block_tiles);
    transforming.emplace_back(DivideUp(tiles, kTiles), 1);
    multiplying.emplace_back(plan_.chunks(), 1);
  }
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    const int64_t worker = next_worker.fetch_add(1);
    for (int64_t block = 0; block < plan_.blocks; ++block) {
      const int64_t first = block * plan_.block_tiles;
      const int64_t last = std::min(first + plan_.block_tiles, plan_.tiles);
      transforming[block].Run([&](int64_t begin, int64_t end) {
        kernels_.transform(task, block, first + begin * kTiles,
                           std::min(first + end * kTiles, last), own.panels);
      });
      multiplying[block].Run([&](int64_t begin, int64_t) {
        kernels_.multiply_chunk(
            task, block, begin, own.panels,
            own.sums + (keeps_sums() ? begin : worker) * plan_.sums_size());
      });
    }
  });
}

}  // namespace tf_approxgrad
