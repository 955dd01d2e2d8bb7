#include "cc/cpu/winograd/input_gradient.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "cc/common/integer_math.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/useful_workers.h"

namespace tf_approxgrad {
namespace {

// Channels of dY whose filters a worker transforms at a time.
constexpr int64_t kFilterChannels = 64;

// Shared tiles that a worker transforms at a time.
constexpr int64_t kTiles = 4;

// dX[i] is the sum over k of F[2 - k] * dY[i + k - (2 - padding)].
ConvGeometry OfOutBackprop(const ConvGeometry& g) {
  ConvGeometry turned = g;
  std::swap(turned.in_rows, turned.out_rows);
  std::swap(turned.in_cols, turned.out_cols);
  std::swap(turned.in_depth, turned.out_depth);
  turned.pad_top = g.filter_rows - 1 - g.pad_top;
  turned.pad_left = g.filter_cols - 1 - g.pad_left;
  return turned;
}

}  // namespace

WinogradInputGradient::WinogradInputGradient(const ConvGeometry& geometry,
                                             int64_t threads,
                                             InstructionSet instruction_set)
    : geometry_(OfOutBackprop(geometry)),
      kernels_(KernelsFor<WinogradKernels>(instruction_set)) {
  if (is_empty()) return;
  workers_ = UsefulWorkers(
      WinogradWork(geometry_, CutIntoTiles(geometry_).tiles), threads);
  plan_ = PlanWinogradInput(geometry_, kernels_.panel_width, kernels_.tile_rows,
                            workers_);
  workers_ =
      std::min(workers_, plan_.by_panels ? plan_.out_panels : plan_.blocks);
  plan_.blocks_ahead = workers_;
}

bool WinogradInputGradient::is_empty() const {
  return geometry_.input_size() == 0 || geometry_.output_size() == 0;
}

WinogradInputGradient::Scratch WinogradInputGradient::LayOut(
    ScratchLayout* layout) const {
  Scratch own;
  layout->Place(&own.zeros, geometry_.in_depth);
  layout->Place(&own.transformed_filters,
                (plan_.by_panels ? workers_ : 1) * plan_.filters_size());
  layout->Place(&own.tiles, (plan_.by_panels ? 1 : workers_) * plan_.in_size());
  layout->Place(&own.products, workers_ * plan_.out_size());
  return own;
}

int64_t WinogradInputGradient::scratch_bytes() const {
  if (is_empty()) return 0;
  ScratchLayout layout(nullptr);
  LayOut(&layout);
  return layout.bytes();
}

void WinogradInputGradient::Compute(const float* filters,
                                    const float* out_backprop, void* scratch,
                                    float* input_backprop,
                                    const RunWorkers& run_workers) const {
  if (is_empty()) {
    std::fill_n(input_backprop, geometry_.output_size(), 0.0f);
    return;
  }
  ScratchLayout layout(scratch);
  const Scratch own = LayOut(&layout);
  std::fill_n(own.zeros, geometry_.in_depth, 0.0f);
  const WinogradInputTask task{geometry_,     plan_,
                               filters,       out_backprop,
                               own.zeros,     own.transformed_filters,
                               input_backprop};
  if (plan_.by_panels) {
    ComputePanels(task, own, run_workers);
  } else {
    ComputeBlocks(task, own, run_workers);
  }
}

void WinogradInputGradient::ComputeBlocks(const WinogradInputTask& task,
                                          const Scratch& own,
                                          const RunWorkers& run_workers) const {
  const int64_t runs = DivideUp(geometry_.in_depth, kFilterChannels);
  UnitQueue transforming(plan_.out_panels * runs, 1);
  UnitQueue computing(plan_.blocks, 1);
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    const int64_t worker = next_worker.fetch_add(1);
    transforming.Run([&](int64_t unit, int64_t) {
      const int64_t begin = unit % runs * kFilterChannels;
      kernels_.transform_filters(
          task, unit / runs, begin,
          std::min(begin + kFilterChannels, geometry_.in_depth));
    });
    computing.Run([&](int64_t block, int64_t) {
      kernels_.compute_block(task, block, own.tiles + worker * plan_.in_size(),
                             own.products + worker * plan_.out_size());
    });
  });
}

void WinogradInputGradient::ComputePanels(const WinogradInputTask& task,
                                          const Scratch& own,
                                          const RunWorkers& run_workers) const {
  UnitQueue transforming(DivideUp(plan_.tiles, kTiles), 1);
  UnitQueue computing(plan_.out_panels, 1);
  std::atomic<int64_t> next_worker{0};
  run_workers(workers_, [&] {
    const int64_t worker = next_worker.fetch_add(1);
    transforming.Run([&](int64_t begin, int64_t end) {
      kernels_.transform_tiles(task, begin * kTiles,
                               std::min(end * kTiles, plan_.tiles), own.tiles);
    });
    computing.Run([&](int64_t panel, int64_t) {
      kernels_.compute_panel(
          task, panel, own.tiles,
          own.transformed_filters + worker * plan_.filters_size(),
          own.products + worker * plan_.out_size());
    });
  });
}

}  // namespace tf_approxgrad
