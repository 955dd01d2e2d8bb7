// The kernels of the Winograd gradients, compiled once for each
// instruction set.
//
// A tile of 4 pixels of dY meets 6 of X, and makes 3 taps of dF:
//   dF[k] = sum over p of dY[p] * X[p + k],  k = 0 .. 2,  p = 0 .. 3.
// As the transpose of a product of polynomials it takes 6 multiplications in
// place of 12, one for each point x at which polynomials are evaluated:
//   S[x] = (sum over p of dY[p] * x^p) * (X transformed)[x],
//   dF[k] = sum over x of c[x] * x^k * S[x],
// with the points 0, +-2/3, +-3/2 and infinity, and in two dimensions 36 in
// place of 144. The last line is linear: S is added up over all tiles first, as
// 36 matrix products [Ci x tiles] x [tiles x Co].
//
// An edge of 1 to 3 pixels takes some of the points and adds to the same S:
// 3, 4 or 5 multiplications.
//
// The input gradient is a convolution of dY with the filters turned round, and
// takes the same transforms in another order: see points-inl.h.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_KERNELS_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_KERNELS_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/winograd/plan.h"

namespace tf_approxgrad {

// A filter gradient.
struct WinogradTask {
  const ConvGeometry& g;
  const WinogradPlan& plan;
  const float* input;
  const float* out_backprop;
  // As many as Ci, and as Co.
  const float* zeros;
  float* filter_backprop;
  // The tiles that it is made of, each with the factor of its part; null means
  // all tiles.
  const DrawnRows* drawn;
};

// An input gradient. The geometry is that of the convolution of dY: its input
// is dY, its output dX.
struct WinogradInputTask {
  const ConvGeometry& g;
  const WinogradInputPlan& plan;
  // [3, 3, channels of dX, channels of dY]
  const float* filters;
  const float* out_backprop;
  // As many as the channels of dY.
  const float* zeros;
  float* transformed_filters;
  float* input_backprop;
};

struct WinogradKernels {
  // Output channels of a panel.
  int64_t panel_width;
  // Tiles that are multiplied at a time for the input gradient.
  int64_t tile_rows;

  // Writes the tiles [begin, end) to their places in the panels of the block
  // `block`.
  void (*transform)(const WinogradTask& task, int64_t block, int64_t begin,
                    int64_t end, float* panels);

  // Makes the sums of a piece, by panels that nobody else uses.
  void (*multiply_piece)(const WinogradTask& task, int64_t piece, float* panels,
                         float* sums);

  // Makes of the pieces' sums, one after the other in memory, the part of dF
  // that one block of input channels has.
  void (*finish_in_block)(const WinogradTask& task, const float* sums,
                          int64_t in_block);

  // Adds the products of a block's shared panels to the sums of a unit, a chunk
  // of channels, and writes its part of dF after the last block.
  void (*multiply_chunk)(const WinogradTask& task, int64_t block, int64_t chunk,
                         const float* panels, float* sums);

  // Transforms the filters of one panel of dX's channels and the channels
  // [begin, end) of dY.
  void (*transform_filters)(const WinogradInputTask& task, int64_t panel,
                            int64_t begin, int64_t end);

  // Writes the pixels of dX that a block of tiles has, with room for tiles and
  // products that nobody else uses. All filters must be transformed.
  void (*compute_block)(const WinogradInputTask& task, int64_t block,
                        float* transformed, float* products);

  // If plan.by_panels. Writes the tiles [begin, end) of dY to their places in
  // the panels that all share.
  void (*transform_tiles)(const WinogradInputTask& task, int64_t begin,
                          int64_t end, float* transformed);

  // Writes the channels of dX that a panel has, with room for filters and
  // products that nobody else uses. All tiles must be transformed.
  void (*compute_panel)(const WinogradInputTask& task, int64_t panel,
                        const float* transformed, float* filters,
                        float* products);
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_KERNELS_H_
