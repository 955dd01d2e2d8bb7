// The draw of row_draw.h, spread over the threads of a call.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_SYSTEMATIC_DRAW_H_
#define TF_APPROXGRAD_CC_CPU_CORE_SYSTEMATIC_DRAW_H_

#include <algorithm>
#include <cstdint>

#include "cc/common/row_draw.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/unit_queue.h"

namespace tf_approxgrad {

// Scratch of a draw; `drawn` lists the rows in ascending order.
struct DrawScratch {
  double* size;        // [rows]
  double* part_sums;   // [parts]
  double* group_sums;  // [groups + 1]
  int64_t* drawn;      // [draws]
};

DrawScratch LayOutDraw(int64_t rows, int64_t draws, ScratchLayout* layout);

// One draw.
class SystematicDraw {
 public:
  // With `keep_largest`, sizes are lowered so that no row is drawn more than
  // once.
  SystematicDraw(int64_t rows, int64_t draws, bool keep_largest, double uniform,
                 const DrawScratch& scratch);

  // Called by every thread of the call, with measure(begin, end, size), which
  // writes the sizes of the rows [begin, end); returns when all are drawn.
  template <typename Measure>
  void Run(const Measure& measure) {
    measuring_.Run([&](int64_t begin, int64_t end) {
      const int64_t first = begin * kRowBlock;
      const int64_t last = std::min(end * kRowBlock, rows_);
      measure(first, last, scratch_.size);
      SumParts(scratch_.size, rows_, begin, end, scratch_.part_sums);
    });
    Draw();
  }

  // After Run. Nothing is drawn if a size isn't finite.
  bool is_finite() const { return draw_.is_finite; }
  // With weights that make `scale` times the estimate.
  DrawnRows drawn_rows(double scale) const {
    return {scratch_.size, scratch_.drawn, draw_.drawn(),
            scale * draw_.weight()};
  }

 private:
  // All that must be known before the rows are drawn.
  void Prepare();
  void Draw();

  int64_t rows_;
  bool keep_largest_;
  DrawScratch scratch_;
  RowDraw draw_;
  UnitQueue measuring_;
  UnitQueue preparing_;
  UnitQueue drawing_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_SYSTEMATIC_DRAW_H_
