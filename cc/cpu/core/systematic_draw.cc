#include "cc/cpu/core/systematic_draw.h"

namespace tf_approxgrad {

DrawScratch LayOutDraw(int64_t rows, int64_t draws, ScratchLayout* layout) {
  DrawScratch own;
  layout->Place(&own.size, rows);
  layout->Place(&own.part_sums, RowParts(rows));
  layout->Place(&own.group_sums, RowGroups(rows) + 1);
  layout->Place(&own.drawn, draws);
  return own;
}

SystematicDraw::SystematicDraw(int64_t rows, int64_t draws, bool keep_largest,
                               double uniform, const DrawKernels& kernels,
                               const DrawScratch& scratch)
    : rows_(rows),
      keep_largest_(keep_largest),
      kernels_(kernels),
      scratch_(scratch),
      measuring_(RowBlocks(rows), 4),
      adding_up_(1, 1),
      lowering_(RowBlocks(rows), 16),
      totalling_(1, 1),
      drawing_(RowBlocks(rows), 16) {
  draw_.draws = draws;
  draw_.uniform = uniform;
}

double SystematicDraw::AddUp() const {
  AddUpParts(RowParts(rows_), scratch_.part_sums, scratch_.group_sums);
  return scratch_.group_sums[RowGroups(rows_)];
}

void SystematicDraw::LowerSizes() {
  lowering_.Run([&](int64_t begin, int64_t end) {
    drawable_.fetch_add(kernels_.lower_sizes(limit_, begin * kRowBlock,
                                             std::min(end * kRowBlock, rows_),
                                             scratch_.size));
    kernels_.sum_parts(scratch_.size, rows_, begin, end, scratch_.part_sums);
  });
  totalling_.Run([&](int64_t, int64_t) {
    draw_.draws = std::min(draw_.draws, drawable_.load());
    draw_.SetTotal(AddUp());
  });
}

void SystematicDraw::Draw() {
  adding_up_.Run([&](int64_t, int64_t) {
    draw_.SetTotal(AddUp());
    // Not draw_'s own, which another thread writes again when it totals.
    is_finite_ = draw_.is_finite;
    if (!keep_largest_ || !is_finite_) return;
    limit_ = kernels_.limit_of_largest(scratch_.size, rows_, draw_.draws);
  });
  if (!is_finite_) return;
  if (keep_largest_) LowerSizes();
  drawing_.Run([&](int64_t begin, int64_t end) {
    kernels_.draw_rows(draw_, scratch_.size, rows_, scratch_.part_sums,
                       scratch_.group_sums, begin, end, scratch_.drawn);
  });
}

}  // namespace tf_approxgrad
