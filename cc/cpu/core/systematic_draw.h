// The draw of row_draw.h, spread over the threads of a call.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_SYSTEMATIC_DRAW_H_
#define TF_APPROXGRAD_CC_CPU_CORE_SYSTEMATIC_DRAW_H_

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "cc/common/row_draw.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/unit_queue.h"

namespace tf_approxgrad {

// The loops over all rows, in double and in an order that is the same for every
// instruction set, so that all draw the same rows.
struct DrawKernels {
  // Writes the sum of each part of the blocks [begin, end) of row_draw.h.
  void (*sum_parts)(const double* size, int64_t rows, int64_t begin,
                    int64_t end, double* part_sums);

  // The limit at which no row would be drawn more than once: the rows of at
  // least the limit drawn once each, the others share what remains of the
  // draws. Each group's sum is made in kRowBlock lanes, row i's being
  // i % kRowBlock, and that of the groups likewise; lanes are added up by
  // halves.
  double (*limit_of_largest)(const double* size, int64_t rows, int64_t draws);

  // Lowers the sizes of the rows [begin, end) to the limit. Returns how many
  // rows can be drawn.
  int64_t (*lower_sizes)(double limit, int64_t begin, int64_t end,
                         double* size);

  // Writes the places of the rows of the blocks [begin, end) into `drawn`.
  void (*draw_rows)(const RowDraw& draw, const double* size, int64_t rows,
                    const double* part_sums, const double* group_sums,
                    int64_t begin, int64_t end, int64_t* drawn);
};

// Scratch of a draw; `drawn` lists the rows in ascending order.
struct DrawScratch {
  double* size;        // [rows]
  double* part_sums;   // [parts]
  double* group_sums;  // [groups + 1]
  int64_t* drawn;      // [draws]
};

DrawScratch LayOutDraw(int64_t rows, int64_t draws, ScratchLayout* layout);

// One draw. `kernels` must outlive it.
class SystematicDraw {
 public:
  // With `keep_largest`, sizes are lowered so that no row is drawn more than
  // once.
  SystematicDraw(int64_t rows, int64_t draws, bool keep_largest, double uniform,
                 const DrawKernels& kernels, const DrawScratch& scratch);

  // Called by every thread of the call, with measure(begin, end, size), which
  // writes the sizes of the rows [begin, end); returns when all are drawn.
  template <typename Measure>
  void Run(const Measure& measure) {
    measuring_.Run([&](int64_t begin, int64_t end) {
      const int64_t first = begin * kRowBlock;
      const int64_t last = std::min(end * kRowBlock, rows_);
      measure(first, last, scratch_.size);
      kernels_.sum_parts(scratch_.size, rows_, begin, end, scratch_.part_sums);
    });
    Draw();
  }

  // After Run. Nothing is drawn if a size isn't finite.
  bool is_finite() const { return is_finite_; }
  // With weights that make `scale` times the estimate.
  DrawnRows drawn_rows(double scale) const {
    return {scratch_.size, scratch_.drawn, draw_.drawn(),
            scale * draw_.weight()};
  }

 private:
  // The sum of all sizes, from that of the parts.
  double AddUp() const;
  // So that no row is drawn more than once.
  void LowerSizes();
  void Draw();

  int64_t rows_;
  bool keep_largest_;
  const DrawKernels& kernels_;
  DrawScratch scratch_;
  RowDraw draw_;
  bool is_finite_ = true;
  // Of the largest rows.
  double limit_ = 0;
  std::atomic<int64_t> drawable_{0};
  UnitQueue measuring_;
  UnitQueue adding_up_;
  UnitQueue lowering_;
  UnitQueue totalling_;
  UnitQueue drawing_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_SYSTEMATIC_DRAW_H_
