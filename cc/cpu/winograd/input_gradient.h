// The Winograd input gradient from end to end, spread over the threads that the
// caller offers: exact to rounding, at a quarter of the multiplications.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_INPUT_GRADIENT_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_INPUT_GRADIENT_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"

namespace tf_approxgrad {

class WinogradInputGradient {
 public:
  // WinogradApplies(geometry) must hold. `threads` is how many there are, at
  // least 1; a small gradient takes fewer.
  WinogradInputGradient(
      const ConvGeometry& geometry, int64_t threads,
      InstructionSet instruction_set = ChosenInstructionSet());

  // Bytes of scratch for Compute, which must be aligned to 64.
  int64_t scratch_bytes() const;

  // Writes every element of `input_backprop`, with the same bits on any number
  // of threads. `filters` are [3, 3, Ci, Co].
  void Compute(const float* filters, const float* out_backprop, void* scratch,
               float* input_backprop, const RunWorkers& run_workers) const;

 private:
  struct Scratch {
    float* zeros;                // [Co]
    float* transformed_filters;  // of all panels, or of each worker
    float* tiles;                // of each worker, or shared
    float* products;             // of each worker
  };

  bool is_empty() const;
  Scratch LayOut(ScratchLayout* layout) const;
  void ComputeBlocks(const WinogradInputTask& task, const Scratch& own,
                     const RunWorkers& run_workers) const;
  void ComputePanels(const WinogradInputTask& task, const Scratch& own,
                     const RunWorkers& run_workers) const;

  // Of the convolution of dY.
  ConvGeometry geometry_;
  WinogradKernels kernels_;
  WinogradInputPlan plan_;
  int64_t workers_ = 1;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_INPUT_GRADIENT_H_
