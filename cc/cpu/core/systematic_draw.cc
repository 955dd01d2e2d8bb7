#include "cc/cpu/core/systematic_draw.h"

#include <cmath>

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
                               double uniform, const DrawScratch& scratch)
    : rows_(rows),
      keep_largest_(keep_largest),
      scratch_(scratch),
      measuring_(RowBlocks(rows), 4),
      preparing_(1, 1),
      drawing_(RowBlocks(rows), 16) {
  draw_.draws = draws;
  draw_.uniform = uniform;
}

void SystematicDraw::Prepare() {
  double* size = scratch_.size;
  const int64_t parts = RowParts(rows_);
  const double& total = scratch_.group_sums[RowGroups(rows_)];
  AddUpParts(parts, scratch_.part_sums, scratch_.group_sums);
  if (keep_largest_ && std::isfinite(total)) {
    const double limit = LimitOfLargest(size, rows_, draw_.draws);
    int64_t drawable = 0;
    for (int64_t row = 0; row < rows_; ++row) {
      size[row] = std::min(size[row], limit);
      drawable += size[row] > 0;
    }
    draw_.draws = std::min(draw_.draws, drawable);
    SumParts(size, rows_, 0, RowBlocks(rows_), scratch_.part_sums);
    AddUpParts(parts, scratch_.part_sums, scratch_.group_sums);
  }
  draw_.SetTotal(total);
}

void SystematicDraw::Draw() {
  preparing_.Run([&](int64_t, int64_t) { Prepare(); });
  if (!draw_.is_finite) return;
  drawing_.Run([&](int64_t begin, int64_t end) {
    DrawRows(draw_, scratch_.size, rows_, scratch_.part_sums,
             scratch_.group_sums, begin, end, scratch_.drawn);
  });
}

}  // namespace tf_approxgrad
