// How the methods that keep positions are cut into CUDA kernels, blocks and
// shared memory. Pure arithmetic on sizes: it needs no GPU and no CUDA header,
// and the same sizes on the same device always give the same plan.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_PLAN_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>

#include "cc/common/geometry.h"
#include "cc/common/host_device.h"
#include "cc/common/integer_math.h"
#include "cc/cuda/runtime/device_limits.h"

namespace tf_approxgrad {

// What a multiprocessor moves in a cycle between L2 or its shared memory and
// its registers, and what a launch takes: from what is published, not measured.
constexpr double kL2BytesPerCycle = 24;
constexpr double kSharedBytesPerCycle = 128;
constexpr double kLaunchSeconds = 2e-6;

// How the kept positions of a channel are found.
enum class CudaSelection {
  // k up to kCudaMostFew, not all positions, NCHW: lanes of a warp, or a block,
  // share a plane.
  kPlanes,
  // The same in NHWC: a thread scans a vector of channels down a slice of the
  // rows.
  kRows,
  // k up to kCudaMostSorted, not all: a warp keeps a channel's largest in its
  // lanes.
  kSorted,
  // Any k: a warp searches the k-th magnitude bit by bit.
  kThreshold,
  // The sampled method: threads share the segments of a channel.
  kSampled,
};

// Where the accumulation reads the input.
enum class CudaInput {
  // A tile in shared memory.
  kTile,
  // The input itself: NHWC, in vectors of 16 bytes.
  kVectors,
  // The input itself, element by element.
  kElements,
};

// The most that a thread of kPlanes and kRows keeps of a channel, in registers,
// and the channels of a thread of kRows where it keeps more than one.
constexpr int kCudaMostFew = 4;
constexpr int kCudaFewVector = 4;

// Elements that a thread of kRows loads at once, where it loads a vector.
constexpr int64_t CudaRowVector(int64_t k, int64_t element_bytes) {
  const int64_t line = 16 / element_bytes;
  return k == 1 || line < kCudaFewVector ? line : kCudaFewVector;
}

// The most that kSorted keeps: a lane of a warp each.
constexpr int64_t kCudaMostSorted = 32;
// Taps that a thread of the accumulation holds: one for a 1x1 filter, else
// these.
constexpr int kCudaTaps = 9;
// Kept positions that a thread of the accumulation prepares for one stage.
constexpr int kCudaPreparedPositions = 2;
constexpr int64_t kCudaMostThreads = 512;

// What a caller may ask for instead of the plan's choice; tests and the
// benchmark do. A wish that can't be met (see CudaPlanProblem) is an error.
struct CudaPlanOptions {
  // Layouts that differ from the geometry's, such as the paper's: NHWC input
  // and NCHW output gradients.
  std::optional<Layout> input_layout;
  std::optional<Layout> out_backprop_layout;
  std::optional<CudaSelection> selection;
  std::optional<CudaInput> input;
  // Parts of the batch that are accumulated apart and then added, in order.
  std::optional<int64_t> splits;
  // Output channels of a block.
  std::optional<int64_t> block_out_channels;
  // False: element by element, as where pointers aren't aligned to 16 bytes.
  bool vectors = true;
};

struct CudaPlan {
  Layout input_layout = Layout::kNHWC;
  Layout out_backprop_layout = Layout::kNHWC;

  CudaSelection selection = CudaSelection::kRows;
  // Elements that a thread of the selection loads at once.
  int64_t selection_vector = 1;
  // kPlanes: threads of a plane, a power of two up to 32, or kSelectionThreads.
  // kRows, kSampled: lanes of a warp that lie along the channels, a power of
  // two up to 32.
  int64_t selection_lanes = 32;
  // kRows: warps that share an example's block of channels; 1, 2, 4 or 8.
  int64_t selection_warps = 1;
  // kSampled: threads of a channel, a power of two.
  int64_t selection_workers = 1;

  CudaInput input = CudaInput::kTile;
  // kTile: whether 16 bytes are copied at once.
  bool tile_vectors = true;
  // Input channels of a thread, and threads of one output channel: together the
  // input channels of a block.
  int64_t vector = 4;
  int64_t lanes = 8;
  int64_t block_out_channels = 64;
  // Taps of a thread: 1 or kCudaTaps.
  int64_t taps = kCudaTaps;
  int64_t threads = kCudaMostThreads;
  // Parts of the batch; more than one need a last addition.
  int64_t splits = 1;
  // Examples, and kept positions of each example and channel, of one stage of
  // the accumulation. More than one example only if all k positions fit.
  int64_t stage_examples = 1;
  int64_t stage_positions = 1;
  // kTile: elements from a pixel to the next in shared memory.
  int64_t pixel_pitch = 0;
  // kTile, NCHW: threads that copy a plane, a power of two up to 8.
  int64_t plane_threads = 8;
  // Taps whose sums are turned at once, in the stages' shared memory.
  int64_t turned_taps = 1;
  // Bytes of the accumulation's shared memory: two stages of tiles and kept
  // positions, and what each output row and column reaches.
  int64_t tile_bytes = 0;
  int64_t positions_bytes = 0;
  int64_t table_bytes = 0;
  int64_t shared_bytes = 0;

  TF_APPROXGRAD_HOST_DEVICE int64_t in_channels() const {
    return vector * lanes;
  }
  TF_APPROXGRAD_HOST_DEVICE int64_t in_blocks(const ConvGeometry& g) const {
    return DivideUp(g.in_depth, in_channels());
  }
  TF_APPROXGRAD_HOST_DEVICE int64_t out_blocks(const ConvGeometry& g) const {
    return DivideUp(g.out_depth, block_out_channels);
  }
  TF_APPROXGRAD_HOST_DEVICE int64_t tap_blocks(const ConvGeometry& g) const {
    return DivideUp(g.taps(), taps);
  }
  TF_APPROXGRAD_HOST_DEVICE int64_t
  split_examples(const ConvGeometry& g) const {
    return DivideUp(g.batch, splits);
  }
  // Rows and columns whose reach is looked up, not computed at each position.
  TF_APPROXGRAD_HOST_DEVICE bool has_tables() const { return table_bytes > 0; }
};

// Threads of a block of the selection.
constexpr int64_t kCudaSelectionThreads = 256;

// What the kernels can't do with these sizes, or an empty string.
std::string CudaPlanProblem(const ConvGeometry& geometry, int64_t k,
                            const CudaPlanOptions& options);

// All sizes of `geometry` must be positive, k in [1, Ho * Wo], and
// CudaPlanProblem silent.
CudaPlan PlanCuda(const ConvGeometry& geometry, int64_t k,
                  int64_t element_bytes, int64_t accumulator_bytes,
                  const CudaDevice& device,
                  const CudaPlanOptions& options = {});

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_PLAN_H_
