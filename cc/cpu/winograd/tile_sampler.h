// Which tiles the tile-sampled method draws, from dY and X.
//
// A tile's size is the norm of its dY times that of the patches of X there. The
// draw is that of row_draw.h, with the largest kept.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_TILE_SAMPLER_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_TILE_SAMPLER_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/systematic_draw.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/winograd/plan.h"

namespace tf_approxgrad {

class TileSampler {
 public:
  // WinogradApplies(geometry) must hold, all sizes must be positive, and
  // `draws` from 1 to the number of tiles. `threads` is how many there are, at
  // least 1; a small gradient takes fewer.
  TileSampler(const ConvGeometry& geometry, int64_t draws, int64_t threads,
              InstructionSet instruction_set = ChosenInstructionSet());

  // Bytes of scratch for Draw, which must be aligned to 64.
  int64_t scratch_bytes() const;

  // Draws tiles by `uniform`, in [0, 1), and writes where they lie in the
  // scratch: the same ones on any number of threads. Returns whether all sizes
  // are finite; else nothing is drawn.
  bool Draw(double uniform, const float* input, const float* out_backprop,
            void* scratch, const RunWorkers& run_workers,
            DrawnRows* drawn) const;

 private:
  struct Scratch {
    DrawScratch draw;
    double* in_sums;   // [N * H * W], squares of X
    double* out_sums;  // [N * Ho * Wo], squares of dY
  };

  Scratch LayOut(ScratchLayout* layout) const;
  // The product of the squared norms of a tile.
  double SquareOf(int64_t tile, const Scratch& own) const;

  ConvGeometry geometry_;
  int64_t draws_;
  WinogradTiles tiles_;
  RowsKernels<float> kernels_;
  int64_t workers_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_TILE_SAMPLER_H_
