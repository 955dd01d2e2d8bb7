// The Winograd filter gradient from end to end, spread over the threads that
// the caller offers: exact to rounding, at a quarter of the multiplications.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_FILTER_GRADIENT_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_FILTER_GRADIENT_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"

namespace tf_approxgrad {

class WinogradFilterGradient {
 public:
  // WinogradApplies(geometry) must hold. `threads` is how many there are, at
  // least 1; a small gradient takes fewer. `drawn_tiles` is the number of
  // drawn tiles that the gradient is made of.
  WinogradFilterGradient(
      const ConvGeometry& geometry, int64_t threads,
      InstructionSet instruction_set = ChosenInstructionSet(),
      int64_t drawn_tiles = kAllTiles);

  // Bytes of scratch for Compute, which must be aligned to 64.
  int64_t scratch_bytes() const;

  // Writes every element of `filter_backprop` [3, 3, Ci, Co], with the same
  // bits on any number of threads.
  void Compute(const float* input, const float* out_backprop, void* scratch,
               float* filter_backprop, const RunWorkers& run_workers,
               const DrawnRows* drawn = nullptr) const;

 private:
  struct Scratch {
    float* zeros;   // [max(Ci, Co)]
    float* panels;  // of each worker, or shared
    float* sums;    // of each piece, chunk or worker
  };

  bool is_empty() const;
  // Whether the sums of a chunk must outlast a block.
  bool keeps_sums() const;
  Scratch LayOut(ScratchLayout* layout) const;
  void ComputePieces(const WinogradTask& task, const Scratch& own,
                     const RunWorkers& run_workers) const;
  void ComputeChunks(const WinogradTask& task, const Scratch& own,
                     const RunWorkers& run_workers) const;

  ConvGeometry geometry_;
  int64_t drawn_tiles_;
  WinogradKernels kernels_;
  WinogradPlan plan_;
  int64_t workers_ = 1;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_FILTER_GRADIENT_H_
