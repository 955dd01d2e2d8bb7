#include "cc/cuda/positions/plan.h"

#include <algorithm>
#include <utility>

#include "cc/common/integer_math.h"
#include "cc/common/systematic_sampling.h"

namespace tf_approxgrad {
namespace {

constexpr int64_t kVectorBytes = 16;
constexpr int64_t kWarp = 32;
// Rows and columns whose reach fits into shared memory at once, 8 bytes each.
constexpr int64_t kMostTableEntries = 2048;
constexpr int64_t kTableEntryBytes = 8;
constexpr int64_t kPreparedBytes = 16;
constexpr int64_t kMostSplits = 256;
// NCHW: pixels of 4 bytes in a sector.
constexpr int64_t kMostPlaneThreads = 8;
// What turning may take where the stages take less. So many blocks as a
// multiprocessor's registers allow fit into an H100's shared memory.
constexpr int64_t kTurningBytes = 16 * 1024;

// Whether each thread can keep what a channel keeps.
bool IsFew(int64_t positions, int64_t k) {
  return k == 1 || (k < positions && k <= kCudaMostFew);
}

CudaSelection ChooseSelection(Layout layout, int64_t positions, int64_t k) {
  if (IsFew(positions, k)) {
    return layout == Layout::kNCHW ? CudaSelection::kPlanes
                                   : CudaSelection::kRows;
  }
  return k < positions && k <= kCudaMostSorted ? CudaSelection::kSorted
                                               : CudaSelection::kThreshold;
}

void PlanSampled(const ConvGeometry& g, int64_t k, int64_t element_bytes,
                 const CudaPlanOptions& options, CudaPlan* plan) {
  const int64_t positions = g.positions();
  const int64_t vector = kVectorBytes / element_bytes;
  const bool planes = plan->out_backprop_layout == Layout::kNCHW;
  if (planes && options.vectors && positions % vector == 0) {
    plan->selection_vector = vector;
  }
  plan->selection_lanes = planes ? 1 : PowerOfTwo(g.out_depth, kWarp);
  // Each has a segment, or a draw, at a time.
  const int64_t items =
      std::max(DivideUp(positions, SegmentRows(positions)), k);
  plan->selection_workers =
      PowerOfTwo(items, kCudaSelectionThreads / plan->selection_lanes);
}

void PlanSelection(const ConvGeometry& g, int64_t k, int64_t element_bytes,
                   const CudaDevice& device, const CudaPlanOptions& options,
                   CudaPlan* plan) {
  const int64_t positions = g.positions();
  const int64_t vector = kVectorBytes / element_bytes;
  plan->selection = options.selection.value_or(
      ChooseSelection(plan->out_backprop_layout, positions, k));
  if (plan->selection == CudaSelection::kPlanes) {
    if (options.vectors && positions % vector == 0) {
      plan->selection_vector = vector;
    }
    // Two loads for a lane: with one, the reduction would be most of the work.
    const int64_t loads = DivideUp(positions, plan->selection_vector);
    plan->selection_lanes = PowerOfTwo(DivideUp(loads, 2), kWarp);
    // Too few planes to fill the device with a warp each.
    if (g.batch * g.out_depth < 16 * device.multiprocessors &&
        loads >= 4 * kCudaSelectionThreads) {
      plan->selection_lanes = kCudaSelectionThreads;
    }
  } else if (plan->selection == CudaSelection::kRows) {
    const int64_t row_vector = CudaRowVector(k, element_bytes);
    if (options.vectors && g.out_depth % row_vector == 0) {
      plan->selection_vector = row_vector;
    }
    const int64_t vectors = DivideUp(g.out_depth, plan->selection_vector);
    constexpr int64_t kWarps = kCudaSelectionThreads / kWarp;
    // 128 neighbouring bytes of a row, down to a sector of 32 where that makes
    // too few blocks.
    const int64_t line = 128 / (plan->selection_vector * element_bytes);
    const int64_t sector = std::max<int64_t>(line / 4, 1);
    int64_t lanes = PowerOfTwo(vectors, std::min(line, kWarp));
    int64_t warps = 1;
    const auto loads = [&] {
      return DivideUp(positions * lanes, kWarp * warps);
    };
    const auto blocks = [&] {
      return g.batch * DivideUp(vectors, lanes) * warps / kWarps;
    };
    while (warps < kWarps && loads() > 4) warps *= 2;
    while (lanes > sector && loads() > 8 &&
           blocks() < 2 * device.multiprocessors) {
      lanes /= 2;
    }
    plan->selection_lanes = lanes;
    plan->selection_warps = warps;
  } else if (plan->selection == CudaSelection::kSampled) {
    PlanSampled(g, k, element_bytes, options, plan);
  }
}

// Shared memory of the accumulation, with the examples of a stage given.
void PlanShared(const ConvGeometry& g, int64_t element_bytes,
                int64_t accumulator_bytes, CudaPlan* plan) {
  plan->tile_bytes = 0;
  if (plan->input == CudaInput::kTile) {
    plan->tile_bytes = 2 * plan->stage_examples * g.in_rows * g.in_cols *
                       plan->pixel_pitch * element_bytes;
  }
  plan->positions_bytes = 2 * plan->stage_examples * plan->block_out_channels *
                          plan->stage_positions * kPreparedBytes;
  const int64_t tap_bytes =
      plan->in_channels() * (plan->block_out_channels + 1) * accumulator_bytes;
  const int64_t stage_bytes =
      plan->tile_bytes + plan->positions_bytes + plan->table_bytes;
  plan->turned_taps =
      std::clamp(std::max(stage_bytes, kTurningBytes) / tap_bytes, int64_t{1},
                 std::min(plan->taps, g.taps()));
  plan->shared_bytes = std::max(stage_bytes, plan->turned_taps * tap_bytes);
}

void PlanBlock(const ConvGeometry& g, int64_t k, int64_t element_bytes,
               const CudaPlanOptions& options, CudaPlan* plan) {
  const bool rows = plan->input_layout == Layout::kNHWC;
  const int64_t vector = kVectorBytes / element_bytes;
  const bool elements = plan->input == CudaInput::kElements;
  plan->vector = elements ? std::min<int64_t>(vector, 4) : vector;
  // A line of 128 bytes a tap. Element by element in NHWC, each load of a warp
  // is a line, so that a thread's elements lie `lanes` apart.
  plan->lanes = PowerOfTwo(DivideUp(g.in_depth, plan->vector),
                           elements && rows ? kWarp : 8);
  plan->tile_vectors = rows && options.vectors && g.in_depth % vector == 0;
  plan->taps = g.taps() == 1 ? 1 : kCudaTaps;
  plan->block_out_channels =
      std::max(PowerOfTwo(options.block_out_channels.value_or(g.out_depth),
                          kCudaMostThreads / plan->lanes),
               kWarp / plan->lanes);
  plan->threads = plan->lanes * plan->block_out_channels;
  plan->pixel_pitch = plan->in_channels() + plan->vector;
  plan->plane_threads = PowerOfTwo(g.in_rows * g.in_cols, kMostPlaneThreads);
  const int64_t entries = g.out_rows + g.out_cols;
  plan->table_bytes =
      entries <= kMostTableEntries ? entries * kTableEntryBytes : 0;
  // So that each thread prepares kCudaPreparedPositions at most.
  const int64_t most_positions = kCudaPreparedPositions * plan->lanes;
  plan->stage_positions = std::min(k, most_positions);
  plan->stage_examples = 1;
}

// Resident blocks of a multiprocessor, as the accumulation's registers allow.
int64_t ResidentBlocks(const CudaPlan& plan) {
  return std::clamp<int64_t>(kCudaMostThreads / plan.threads, 1, 8);
}

int64_t ChooseSplits(const ConvGeometry& g, int64_t k, int64_t element_bytes,
                     int64_t accumulator_bytes, const CudaDevice& device,
                     const CudaPlan& plan) {
  // Of one example in one block: a line for each kept position and tap, which
  // comes from shared memory or, where the input is read in place, from L2.
  const double bytes_per_cycle =
      plan.input == CudaInput::kTile ? kSharedBytesPerCycle : kL2BytesPerCycle;
  const double example_cycles = static_cast<double>(plan.block_out_channels) *
                                k * std::min(plan.taps, g.taps()) *
                                plan.in_channels() * element_bytes /
                                bytes_per_cycle * ResidentBlocks(plan);
  // Filling the first stage, and turning the sums.
  constexpr double kBlockCycles = 3000;
  const double parts_bytes =
      2.0 * g.filter_size() * g.out_depth * accumulator_bytes;
  const double part_cycles =
      parts_bytes / (kL2BytesPerCycle * device.multiprocessors);
  const int64_t blocks =
      plan.in_blocks(g) * plan.out_blocks(g) * plan.tap_blocks(g);
  const int64_t slots = device.multiprocessors * ResidentBlocks(plan);
  int64_t best = 1;
  double best_cycles = 0;
  for (int64_t splits = 1; splits <= std::min(g.batch, kMostSplits); ++splits) {
    double cycles = DivideUp(blocks * splits, slots) *
                    (kBlockCycles + DivideUp(g.batch, splits) * example_cycles);
    if (splits > 1) {
      cycles += splits * part_cycles + kLaunchSeconds * device.clock_hertz;
    }
    if (splits == 1 || cycles < best_cycles) {
      best = splits;
      best_cycles = cycles;
    }
  }
  return best;
}

// As many examples for a stage as fit, but four stages at least, so that one is
// filled while another is used.
void PlanStages(const ConvGeometry& g, int64_t k, int64_t element_bytes,
                int64_t accumulator_bytes, const CudaDevice& device,
                CudaPlan* plan) {
  const int64_t budget = device.shared_bytes_per_block * 7 / 10;
  int64_t most = 1;
  if (plan->stage_positions == k) {
    most = std::min(kCudaPreparedPositions * plan->lanes / k,
                    DivideUp(plan->split_examples(g), 4));
  }
  // Their pixels, in NCHW their elements, are counted in 32 bits.
  const int64_t counted =
      g.in_rows * g.in_cols *
      (plan->input_layout == Layout::kNCHW ? g.in_depth : 1);
  most = std::min(most, INT32_MAX / counted);
  PlanShared(g, element_bytes, accumulator_bytes, plan);
  for (int64_t examples = 2; examples <= most; ++examples) {
    CudaPlan larger = *plan;
    larger.stage_examples = examples;
    PlanShared(g, element_bytes, accumulator_bytes, &larger);
    if (larger.shared_bytes > budget) break;
    *plan = larger;
  }
}

// The input in place: in vectors where its channels allow it.
CudaInput InputInPlace(const ConvGeometry& g, int64_t element_bytes,
                       const CudaPlanOptions& options, const CudaPlan& plan) {
  const bool vectors = options.vectors && plan.input_layout == Layout::kNHWC &&
                       g.in_depth % (kVectorBytes / element_bytes) == 0;
  return vectors ? CudaInput::kVectors : CudaInput::kElements;
}

}  // namespace

std::string CudaPlanProblem(const ConvGeometry& g, int64_t k,
                            const CudaPlanOptions& options) {
  const std::pair<const char*, double> sizes[] = {
      {"pixels an example in the input", 1.0 * g.in_rows * g.in_cols},
      {"input channels", 1.0 * g.in_depth},
      {"taps of the filter", 1.0 * g.filter_rows * g.filter_cols},
      {"examples times output channels", 1.0 * g.batch * g.out_depth},
  };
  for (const auto& [name, size] : sizes) {
    if (size > INT32_MAX) {
      return "more than 2^31 - 1 " + std::string(name) +
             ", the most that the GPU's kernels support";
    }
  }
  const Layout layout = options.out_backprop_layout.value_or(g.layout);
  switch (
      options.selection.value_or(ChooseSelection(layout, g.positions(), k))) {
    case CudaSelection::kPlanes:
      if (IsFew(g.positions(), k) && layout == Layout::kNCHW) break;
      return "kPlanes selects 4 positions at most, not all, in NCHW";
    case CudaSelection::kRows:
      if (IsFew(g.positions(), k) && layout == Layout::kNHWC) break;
      return "kRows selects 4 positions at most, not all, in NHWC";
    case CudaSelection::kSorted:
      if (k < g.positions() && k <= kCudaMostSorted) break;
      return "kSorted selects fewer than all positions, and 32 at most";
    case CudaSelection::kSampled:
      if (k < g.positions()) break;
      return "kSampled draws fewer than all positions";
    case CudaSelection::kThreshold:
      break;
  }
  return "";
}

CudaPlan PlanCuda(const ConvGeometry& g, int64_t k, int64_t element_bytes,
                  int64_t accumulator_bytes, const CudaDevice& device,
                  const CudaPlanOptions& options) {
  CudaPlan plan;
  plan.input_layout = options.input_layout.value_or(g.layout);
  plan.out_backprop_layout = options.out_backprop_layout.value_or(g.layout);
  PlanSelection(g, k, element_bytes, device, options, &plan);

  const CudaInput in_place = InputInPlace(g, element_bytes, options, plan);
  plan.input = options.input.value_or(CudaInput::kTile);
  PlanBlock(g, k, element_bytes, options, &plan);
  if (plan.input == CudaInput::kTile) {
    PlanShared(g, element_bytes, accumulator_bytes, &plan);
    const bool fits = plan.shared_bytes <= device.shared_bytes_per_block;
    // A tile is worth its copy if its pixels are read once at least.
    const bool worth =
        plan.block_out_channels * k * g.taps() >= g.in_rows * g.in_cols;
    if (!fits || !(worth || options.input.has_value())) {
      plan.input = in_place;
    }
  } else if (plan.input == CudaInput::kVectors) {
    plan.input = in_place;
  }
  PlanBlock(g, k, element_bytes, options, &plan);
  plan.splits = std::min(
      g.batch, options.splits.value_or(ChooseSplits(
                   g, k, element_bytes, accumulator_bytes, device, plan)));
  PlanStages(g, k, element_bytes, accumulator_bytes, device, &plan);
  return plan;
}

}  // namespace tf_approxgrad
