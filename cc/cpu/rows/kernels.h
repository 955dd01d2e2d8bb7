// The kernels of the row-sampled method, compiled once for each instruction
// set.
//
// Square sums: the squared norm of dY at every row, or of X at every pixel, in
// one pass. A row is one position of one example. The sums are in double, where
// the square of a float is exact, and in an order that is the same for every
// instruction set, so that all draw the same rows.
//
// Product: with w[r] the weight of a drawn row,
//   dF[kh, kw, ci, co] = sum over drawn r of
//       X[pixel of r under tap (kh, kw), ci] * w[r] * dY[r, co],
// a matrix product whose one side, patches of X, is read where it lies.
//
// Input product: with the same weights,
//   dX[pixel of r under tap (kh, kw), ci] += sum over co of
//       w[r] * dY[r, co] * F[kh, kw, ci, co],
// a matrix product whose rows are scattered.
//
// All split into units that don't depend on each other, and an element of dF is
// summed in the same order whatever the units are: block by block of
// kProductRows drawn rows, within it the rows with all taps inside X, then the
// others. So is one of dX: block by block of a group's rows, tap by tap, row by
// row.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_KERNELS_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_KERNELS_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/cpu/core/packed_filter.h"
#include "cc/cpu/core/systematic_draw.h"

namespace tf_approxgrad {

// Drawn rows that are multiplied at a time: their weighted dY stays in L1 while
// it meets all taps and input channels of a unit.
constexpr int64_t kProductRows = 128;

// How the product is cut.
struct ProductPlan {
  // Pieces of the list of drawn rows, each with sums of its own.
  int64_t pieces = 1;
  // Blocks of kProductRows in each piece but the last.
  int64_t piece_blocks = 1;
  // Input and output channels of a unit.
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  // Whether dF is so large that it is written past the caches.
  bool streams_filter = false;

  int64_t in_chunks = 1;
  int64_t out_chunks = 1;
  int64_t units() const { return pieces * in_chunks * out_chunks; }
};

// A call, for the product.
template <typename T>
struct ProductTask {
  using Accumulator = typename AccumulatorOf<T>::type;

  const ConvGeometry& g;
  const ProductPlan& plan;
  // X as [N, H, W, Ci].
  const T* pixels;
  const T* out_backprop;
  DrawnRows rows;
  // Sums [pieces, KH, KW, Ci, Co] if there are several pieces.
  Accumulator* piece_sums;
  T* filter_backprop;
};

// How the input product is cut. A unit is a chunk of input channels of a group
// of examples, whose sums stay in cache while drawn rows are added to them.
struct InputProductPlan {
  // Input channels of a panel of the packed filter, and panels of a chunk.
  int64_t panel = 0;
  int64_t chunk_panels = 1;
  int64_t chunk() const { return panel * chunk_panels; }
  int64_t chunks = 1;
  int64_t group_images = 1;
  int64_t groups = 1;
  // dX is larger than the L2 cache, and written past it.
  bool streams_result = false;
  int64_t units() const { return chunks * groups; }
};

// A call, for the input product.
template <typename T>
struct InputProductTask {
  using Accumulator = typename AccumulatorOf<T>::type;

  const ConvGeometry& g;
  const InputProductPlan& plan;
  DrawnRows rows;
  const T* out_backprop;
  // [Ci / panel, KH, KW, Co, panel]
  const PackedFilter& packed;
  const Accumulator* packed_filter;
  T* in_backprop;
};

template <typename T>
struct RowsKernels : DrawKernels {
  using Accumulator = typename AccumulatorOf<T>::type;

  int64_t lanes;

  // The sums of squares of the vectors [begin, end) of `channels` elements in
  // an array [images, positions, channels] or, in NCHW, [images, channels,
  // positions].
  void (*square_sums)(Layout layout, const T* values, int64_t positions,
                      int64_t channels, int64_t begin, int64_t end,
                      double* sums);

  // Turns the squared norms of the rows [begin, end) of dY into the squared
  // products with the norms of their patches. `pixel_sums` are square_sums of
  // X.
  void (*multiply_by_patch_squares)(const ConvGeometry& geometry,
                                    const double* pixel_sums, int64_t begin,
                                    int64_t end, double* squares);

  // Writes the pixels [begin, end) of an input in NCHW as
  // [N * H * W, channels].
  void (*arrange)(const T* values, int64_t positions, int64_t channels,
                  int64_t begin, int64_t end, T* pixels);

  // Bytes of scratch that a worker needs for the product, aligned to 64.
  int64_t (*worker_bytes)(const ConvGeometry& geometry,
                          const ProductPlan& plan);

  // Runs one of plan.units().
  void (*multiply)(const ProductTask<T>& task, int64_t unit, void* scratch);

  // Adds up the pieces' sums of the elements [begin, end) of dF.
  void (*add_pieces)(const ProductTask<T>& task, int64_t begin, int64_t end);

  // Packs a chunk of the filter for the output channels [first, last).
  void (*pack_filter)(const ConvGeometry& geometry, const PackedFilter& packed,
                      const T* filter, int64_t chunk, int64_t first,
                      int64_t last, Accumulator* out);

  // Bytes of scratch that a worker needs for the input product.
  int64_t (*input_worker_bytes)(const ConvGeometry& geometry,
                                const InputProductPlan& plan);

  // Runs one of the plan's units(), of whose group the places [begin, end) of
  // the list of drawn rows are.
  void (*multiply_input)(const InputProductTask<T>& task, int64_t unit,
                         int64_t begin, int64_t end, void* scratch);
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_KERNELS_H_
