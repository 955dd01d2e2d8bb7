// The kernels of the Winograd gradients in one table.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_KERNELS_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_KERNELS_INL_H_

#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/winograd/filters-inl.h"
#include "cc/cpu/winograd/input_blocks-inl.h"
#include "cc/cpu/winograd/inverse-inl.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/transform-inl.h"
#include "cc/cpu/winograd/units-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

inline void Collect(WinogradKernels* kernels) {
  *kernels = {kPanelWidth,       kTileRows,      &TransformTiles,
              &MultiplyPiece,    &FinishInBlock, &MultiplyChunk,
              &TransformFilters, &ComputeBlock,  &TransformTilesOfAll,
              &ComputePanel};
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_KERNELS_INL_H_
