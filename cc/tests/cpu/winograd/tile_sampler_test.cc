// The draw of tiles against sizes made tap by tap: all instruction sets and
// numbers of workers. Needs no TensorFlow. Every buffer has exactly the
// documented size, so that a sanitizer sees the first element too far.

#include "cc/cpu/winograd/tile_sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/tests/check.h"
#include "cc/tests/common/positions_reference.h"
#include "cc/tests/cpu/runs.h"
#include "cc/tests/cpu/winograd/cases.h"

namespace tf_approxgrad {
namespace {

constexpr double kUniform = 0.625;

// Maps with tiles that aren't whole, and as many tiles as several blocks have.
const ConvGeometry kCases[] = {
    Convolution(3, 9, 6, 5, 7, 1, 1), Convolution(2, 4, 4, 3, 9, 0, 2),
    Convolution(2, 7, 7, 3, 40, 0, 0), Convolution(1, 1, 300, 8, 8, 1, 1),
    Convolution(40, 27, 30, 20, 3, 2, 1)};

std::vector<double> SizesByTaps(const ConvGeometry& g,
                                const std::vector<float>& x,
                                const std::vector<float>& dy) {
  const WinogradTiles map = CutIntoTiles(g);
  std::vector<double> of_output(map.tiles);
  std::vector<double> of_patches(map.tiles);
  for (int64_t r = 0; r < g.batch * g.positions(); ++r) {
    const int64_t n = r / g.positions();
    const int64_t p = r % g.positions();
    const int64_t tile =
        (n * map.tile_rows + p / g.out_cols / kTilePixels) * map.tile_cols +
        p % g.out_cols / kTilePixels;
    for (int64_t co = 0; co < g.out_depth; ++co) {
      const double value = dy[r * g.out_depth + co];
      of_output[tile] += value * value;
    }
    for (int64_t ci = 0; ci < g.in_depth; ++ci) {
      ForEachTap(g, n, p, ci, [&](int64_t, int64_t at) {
        const double value = x[at];
        of_patches[tile] += value * value;
      });
    }
  }
  for (int64_t tile = 0; tile < map.tiles; ++tile) {
    of_output[tile] = std::sqrt(of_output[tile] * of_patches[tile]);
  }
  return of_output;
}

// The tiles whose running sum passes a place, in one sum.
std::vector<int64_t> Drawn(const std::vector<double>& size, double total,
                           int64_t draws) {
  std::vector<int64_t> drawn;
  double sum = 0;
  for (size_t tile = 0; tile < size.size(); ++tile) {
    sum += size[tile];
    const double end =
        std::floor(static_cast<double>(draws) * sum / total + kUniform);
    while (static_cast<double>(drawn.size()) < end &&
           static_cast<int64_t>(drawn.size()) < draws) {
      drawn.push_back(static_cast<int64_t>(tile));
    }
  }
  return drawn;
}

void TestDraw(const ConvGeometry& g, int64_t draws) {
  const auto x = DrawValues(g.input_size(), OfMeanThree, 1);
  const auto dy = DrawValues(g.output_size(), Normal, 2);
  const std::string what =
      Describe(g) + ", " + std::to_string(draws) + " draws, ";
  auto size = SizesByTaps(g, x, dy);
  const auto kernels = KernelsFor<RowsKernels<float>>(InstructionSets()[0]);
  const double limit = kernels.limit_of_largest(
      size.data(), static_cast<int64_t>(size.size()), draws);
  double total = 0;
  for (double& one : size) total += one = std::min(one, limit);
  const auto expected = Drawn(size, total, draws);
  for (const InstructionSet set : InstructionSets()) {
    for (const int64_t threads : {1, 2, 3}) {
      const TileSampler sampler(g, draws, threads, set);
      const AlignedMemory scratch(sampler.scratch_bytes());
      DrawnRows drawn;
      Check(sampler.Draw(kUniform, x.data(), dy.data(), scratch.data,
                         threads == 2 ? RunTogether : RunOneByOne, &drawn),
            what + "not finite");
      const std::vector<int64_t> found(drawn.drawn, drawn.drawn + drawn.count);
      Check(found == expected,
            what + InstructionSetName(set) + ": other tiles");
      for (const int64_t tile : found) {
        const double weight = total / static_cast<double>(draws) / size[tile];
        Check(std::abs(drawn.weight / drawn.size[tile] / weight - 1) < 1e-12,
              what + "another weight");
      }
    }
  }
}

void TestNothingIsDrawnOfWhatIsNotFinite() {
  const ConvGeometry g = kCases[0];
  for (const float value : {NAN, INFINITY}) {
    for (const bool in_dy : {false, true}) {
      auto x = DrawValues(g.input_size(), Normal, 1);
      auto dy = DrawValues(g.output_size(), Normal, 2);
      (in_dy ? dy : x).back() = value;
      const TileSampler sampler(g, 2, 1);
      const AlignedMemory scratch(sampler.scratch_bytes());
      DrawnRows drawn;
      Check(!sampler.Draw(kUniform, x.data(), dy.data(), scratch.data,
                          RunOneByOne, &drawn),
            "what isn't finite is drawn");
    }
  }
}

void TestNothingIsDrawnOfZeros() {
  const ConvGeometry g = kCases[0];
  const std::vector<float> x(g.input_size());
  const std::vector<float> dy(g.output_size());
  const TileSampler sampler(g, 2, 1);
  const AlignedMemory scratch(sampler.scratch_bytes());
  DrawnRows drawn;
  Check(sampler.Draw(kUniform, x.data(), dy.data(), scratch.data, RunOneByOne,
                     &drawn) &&
            drawn.count == 0,
        "zeros are drawn");
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  for (const ConvGeometry& g : kCases) {
    const int64_t tiles = CutIntoTiles(g).tiles;
    for (const int64_t draws : {int64_t{1}, tiles / 3, tiles / 2, tiles}) {
      if (draws > 0) TestDraw(g, draws);
    }
  }
  TestNothingIsDrawnOfWhatIsNotFinite();
  TestNothingIsDrawnOfZeros();
  return FailedChecks("cpu/winograd/tile_sampler_test");
}
