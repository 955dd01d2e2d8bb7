// The list of patches that the selection hands to the accumulation.
//
// It has the order in which the accumulation reads it:
//   [groups of output channels][runs of examples]
//       [channels of the group][examples of the run][k],
// with the last group and the last run as short as they are.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_PATCH_LIST_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_PATCH_LIST_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

inline int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Examples of the run that begins with example `first`.
inline int64_t RunImages(const ConvGeometry& g, const AccumulationPlan& plan,
                         int64_t first) {
  return Smaller(plan.run_images, g.batch - first);
}

// Index of the first patch of output channel `co` in the run that begins with
// example `first`.
inline int64_t FirstPatchOfRun(const ConvGeometry& g,
                               const AccumulationPlan& plan, int64_t k,
                               int64_t first, int64_t co) {
  const int64_t group_begin = co / plan.group * plan.group;
  const int64_t group_size = Smaller(plan.group, g.out_depth - group_begin);
  return (group_begin * g.batch + first * group_size +
          (co - group_begin) * RunImages(g, plan, first)) *
         k;
}

// Writes the patches of one example and of neighbouring output channels that
// belong to one group.
template <typename Accumulator>
class PatchWriter {
 public:
  PatchWriter(const ConvGeometry& g, const AccumulationPlan& plan, int64_t k,
              int64_t example, WeightedPatch<Accumulator>* patches)
      : g_(g),
        plan_(plan),
        k_(k),
        patches_(patches),
        inverse_cols_(1.0 / g.out_cols),
        first_(example / plan.run_images * plan.run_images),
        example_in_run_(example - first_),
        channel_stride_(RunImages(g, plan, first_) * k) {
    if (plan.path != AccumulationPath::kTile || plan.clipped) return;
    const int64_t in_tile = example % plan.tile_images;
    col_step_ = static_cast<int32_t>(g.stride_cols * plan.chunk);
    const int64_t row_size = plan.row_pixels * plan.chunk;
    row_step_ =
        static_cast<int32_t>(g.stride_rows * row_size - g.out_cols * col_step_);
    origin_ =
        static_cast<int32_t>(in_tile * plan.image_pixels * plan.chunk +
                             plan.lead_pixels * plan.chunk -
                             g.pad_top * row_size - g.pad_left * plan.chunk);
  }

  // The patches of `co`, of which there are k.
  WeightedPatch<Accumulator>* OfChannel(int64_t co) const {
    return patches_ + FirstPatchOfRun(g_, plan_, k_, first_, co) +
           example_in_run_ * k_;
  }

  // From the patches of a channel to those of the next.
  int64_t channel_stride() const { return channel_stride_; }

  // What a patch notes of a position: where it begins in the tile, or the
  // position itself.
  int32_t PlaceOf(int32_t position) const {
    // Exact for positions below 2^31, and a division takes far longer.
    const int32_t row = static_cast<int32_t>((position + 0.5) * inverse_cols_);
    return origin_ + row * row_step_ + position * col_step_;
  }

 private:
  const ConvGeometry& g_;
  const AccumulationPlan& plan_;
  int64_t k_;
  WeightedPatch<Accumulator>* patches_;
  double inverse_cols_;
  int64_t first_;
  int64_t example_in_run_;
  int64_t channel_stride_;
  int32_t origin_ = 0;
  int32_t row_step_ = 0;
  int32_t col_step_ = 1;
};

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_PATCH_LIST_INL_H_
