// The plans of the CUDA kernels keep to what the kernels can do, on every kind
// of GPU. Host only.

#include "cc/cuda/positions/plan.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/cuda/runtime/device_limits.h"
#include "cc/tests/check.h"

namespace tf_approxgrad {
namespace {

ConvGeometry Square(int64_t batch, int64_t in_depth, int64_t out_depth,
                    int64_t size, int64_t filter, Layout layout) {
  ConvGeometry g;
  g.layout = layout;
  g.batch = batch;
  g.in_rows = g.in_cols = g.out_rows = g.out_cols = size;
  g.in_depth = in_depth;
  g.out_depth = out_depth;
  g.filter_rows = g.filter_cols = filter;
  g.pad_top = g.pad_left = filter / 2;
  return g;
}

std::vector<ConvGeometry> Geometries() {
  std::vector<ConvGeometry> all;
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const auto& [channels, size] :
         std::vector<std::pair<int64_t, int64_t>>{{256, 8},
                                                  {128, 16},
                                                  {512, 4},
                                                  {512, 2},
                                                  {64, 32},
                                                  {16, 32},
                                                  {32, 16},
                                                  {64, 8}}) {
      all.push_back(Square(128, channels, channels, size, 3, layout));
    }
    all.push_back(Square(32, 3, 64, 112, 7, layout));
    all.push_back(Square(32, 2048, 512, 7, 1, layout));
    all.push_back(Square(1, 1, 1, 1, 1, layout));
    all.push_back(Square(3, 5, 7, 9, 5, layout));
    all.push_back(Square(2, 33, 17, 6, 11, layout));
    ConvGeometry wide = Square(1, 4, 1, 1, 1, layout);
    wide.in_cols = wide.out_cols = 1 << 20;
    all.push_back(wide);
  }
  return all;
}

// An H100, an A100, an RTX 4090 and a T4.
std::vector<CudaDevice> Devices() {
  std::vector<CudaDevice> devices(4);
  devices[1] = {80, 108, 163 << 10, 40 << 20, 1.41e9};
  devices[2] = {89, 128, 99 << 10, 72 << 20, 2.52e9};
  devices[3] = {75, 40, 64 << 10, 4 << 20, 1.59e9};
  return devices;
}

bool IsPowerOfTwo(int64_t value) {
  return value > 0 && (value & (value - 1)) == 0;
}

std::string Describe(const ConvGeometry& g, int64_t k, int64_t bytes,
                     const CudaDevice& device) {
  return (g.layout == Layout::kNHWC ? "NHWC " : "NCHW ") +
         std::to_string(g.in_depth) + "->" + std::to_string(g.out_depth) +
         " at " + std::to_string(g.in_rows) + "x" + std::to_string(g.in_cols) +
         ", k " + std::to_string(k) + ", " + std::to_string(bytes) +
         " bytes, sm_" + std::to_string(device.compute_capability) + ": ";
}

// What the kernels take for granted.
void CheckPlan(const ConvGeometry& g, int64_t k, int64_t bytes,
               const CudaDevice& device, const CudaPlanOptions& options) {
  const int64_t accumulator_bytes = bytes == 8 ? 8 : 4;
  const CudaPlan p = PlanCuda(g, k, bytes, accumulator_bytes, device, options);
  const std::string what = Describe(g, k, bytes, device);
  const bool rows = p.out_backprop_layout == Layout::kNHWC;

  const bool few = p.selection == CudaSelection::kRows && k > 1;
  const int64_t line = 16 / bytes;
  Check(p.selection_vector == 1 ||
            p.selection_vector == (few ? std::min<int64_t>(line, 4) : line),
        what + "a selection's load is an element, 16 bytes or four elements");
  Check((rows ? g.out_depth : g.positions()) % p.selection_vector == 0,
        what + "the selection's vectors must not pass the end");
  Check(IsPowerOfTwo(p.selection_lanes) &&
            p.selection_lanes <= kCudaSelectionThreads,
        what + "the selection's lanes");
  Check(IsPowerOfTwo(p.selection_warps) && p.selection_warps <= 8,
        what + "the selection's warps");

  Check(IsPowerOfTwo(p.lanes) && p.lanes <= 32, what + "the lanes");
  Check(p.threads == p.lanes * p.block_out_channels, what + "the threads");
  Check(p.threads % 32 == 0 && p.threads >= 32 && p.threads <= kCudaMostThreads,
        what + "threads must be whole warps that a block may have");
  Check(p.in_blocks(g) * p.in_channels() >= g.in_depth &&
            (p.in_blocks(g) - 1) * p.in_channels() < g.in_depth,
        what + "the blocks of input channels");
  Check(p.out_blocks(g) * p.block_out_channels >= g.out_depth,
        what + "the blocks of output channels");
  Check(p.tap_blocks(g) * p.taps >= g.taps(), what + "the blocks of taps");
  Check(p.splits >= 1 && p.splits <= g.batch, what + "the parts");
  Check(p.splits * p.split_examples(g) >= g.batch, what + "the parts' sizes");
  Check(
      p.stage_examples * p.stage_positions <= kCudaPreparedPositions * p.lanes,
      what + "a thread can't prepare so many kept positions");
  Check(p.stage_positions >= 1 &&
            (p.stage_examples == 1 || p.stage_positions == k),
        what + "several examples need all their kept positions in the stage");
  Check(p.shared_bytes <= device.shared_bytes_per_block,
        what + "the block wants more shared memory than it can have");
  Check(p.shared_bytes >= p.tile_bytes + p.positions_bytes + p.table_bytes,
        what + "shared memory must hold all three");
  Check(p.turned_taps >= 1 && p.turned_taps <= p.taps,
        what + "the taps whose sums are turned at once");
  Check(p.shared_bytes >= p.turned_taps * p.in_channels() *
                              (p.block_out_channels + 1) * accumulator_bytes,
        what + "shared memory must hold the turned sums");
  Check((p.plane_threads & (p.plane_threads - 1)) == 0 && p.plane_threads >= 1,
        what + "the threads of a plane must be a power of two");
  Check(p.tile_bytes % 32 == 0 && p.positions_bytes % 16 == 0,
        what + "what follows in shared memory must be aligned to 16 bytes");
  if (p.input == CudaInput::kTile) {
    Check(p.vector * bytes == 16, what + "a tile is read by 16 bytes");
    Check(p.pixel_pitch * bytes % 16 == 0, what + "the tile's pitch");
    Check(p.pixel_pitch >= p.in_channels(), what + "a pixel must fit");
    Check(p.tile_bytes == 2 * p.stage_examples * g.in_rows * g.in_cols *
                              p.pixel_pitch * bytes,
          what + "two tiles of a stage's examples");
  }
  if (p.input == CudaInput::kVectors) {
    Check(p.input_layout == Layout::kNHWC && g.in_depth * bytes % 16 == 0,
          what + "vectors need NHWC and whole 16 bytes");
  }
  if (p.tile_vectors) {
    Check(p.input_layout == Layout::kNHWC && g.in_depth * bytes % 16 == 0,
          what + "a tile is copied by 16 bytes only in NHWC and whole");
  }
  if (!options.vectors) {
    Check(p.selection_vector == 1 && !p.tile_vectors &&
              p.input != CudaInput::kVectors,
          what + "a plan without vectors reads none");
  }
}

std::vector<int64_t> CountsOf(const ConvGeometry& g) {
  std::vector<int64_t> counts;
  for (const int64_t k : {1, 2, 4, 16, 17, 32, 33, 100}) {
    if (k <= g.positions()) counts.push_back(k);
  }
  if (g.positions() < 2000) counts.push_back(g.positions());
  return counts;
}

void TestPlansKeepToTheKernelsLimits() {
  for (const CudaDevice& device : Devices()) {
    for (const ConvGeometry& g : Geometries()) {
      for (const int64_t k : CountsOf(g)) {
        for (const int64_t bytes : {2, 4, 8}) {
          CudaPlanOptions options;
          CheckPlan(g, k, bytes, device, options);
          options.vectors = false;
          CheckPlan(g, k, bytes, device, options);
          for (const CudaInput input :
               {CudaInput::kTile, CudaInput::kVectors, CudaInput::kElements}) {
            options = {};
            options.input = input;
            options.splits = 5;
            options.block_out_channels = 1 + k % 24;
            CheckPlan(g, k, bytes, device, options);
          }
          options = {};
          options.input_layout = Layout::kNHWC;
          options.out_backprop_layout = Layout::kNCHW;
          CheckPlan(g, k, bytes, device, options);
        }
      }
    }
  }
}

void TestWishesAreTaken() {
  const CudaDevice device;
  const ConvGeometry g = Square(128, 64, 64, 8, 3, Layout::kNHWC);
  CudaPlanOptions options;
  options.input = CudaInput::kTile;
  options.splits = 3;
  options.block_out_channels = 16;
  options.input_layout = Layout::kNCHW;
  options.selection = CudaSelection::kThreshold;
  const CudaPlan plan = PlanCuda(g, 1, 4, 4, device, options);
  Check(plan.input == CudaInput::kTile, "the input that was asked for");
  Check(plan.splits == 3, "the parts that were asked for");
  Check(plan.block_out_channels == 16, "the channels that were asked for");
  Check(plan.input_layout == Layout::kNCHW, "the layout that was asked for");
  Check(plan.out_backprop_layout == Layout::kNHWC, "the geometry's layout");
  Check(plan.selection == CudaSelection::kThreshold, "the selection");
}

void TestProblemsAreNamed() {
  ConvGeometry g = Square(2, 4, 4, 6, 3, Layout::kNHWC);
  CudaPlanOptions options;
  for (const int64_t k : {1, 2, 36}) {
    Check(CudaPlanProblem(g, k, options).empty(), "no problem by default");
  }
  const auto has_problem = [&](CudaSelection selection, int64_t k) {
    options.selection = selection;
    return !CudaPlanProblem(g, k, options).empty();
  };
  Check(has_problem(CudaSelection::kPlanes, 1), "kPlanes in NHWC");
  Check(!has_problem(CudaSelection::kRows, 4), "kRows with k = 4");
  Check(has_problem(CudaSelection::kRows, 5), "kRows with k = 5");
  Check(!has_problem(CudaSelection::kSorted, 32), "kSorted with k = 32");
  Check(has_problem(CudaSelection::kSorted, 33), "kSorted with k = 33");
  Check(has_problem(CudaSelection::kSorted, 36), "kSorted of all positions");
  Check(!has_problem(CudaSelection::kThreshold, 36), "kThreshold of all");
  Check(!has_problem(CudaSelection::kSampled, 35), "kSampled with k = 35");
  Check(has_problem(CudaSelection::kSampled, 36), "kSampled of all positions");
  options = {};
  g.in_rows = 1 << 16;
  g.in_cols = 1 << 16;
  Check(CudaPlanProblem(g, 1, options).find("pixels") != std::string::npos,
        "too many pixels are named");
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  TestPlansKeepToTheKernelsLimits();
  TestWishesAreTaken();
  TestProblemsAreNamed();
  return FailedChecks("cuda/positions/plan_test");
}
