#include "cc/cpu/rows/gathered_rows.h"

#include <algorithm>
#include <limits>

#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/rows/sampler.h"

namespace tf_approxgrad {

template <typename T>
GatheredRows<T>::GatheredRows(const ConvGeometry& geometry,
                              const RowSampling& sampling,
                              const RowsKernels<T>& kernels)
    : geometry_(geometry), sampling_(sampling), kernels_(kernels) {}

template <typename T>
int64_t GatheredRows<T>::scratch_bytes() const {
  ScratchLayout layout(nullptr);
  LayOutRowSampler(geometry_, sampling_, &layout);
  return layout.bytes();
}

template <typename T>
DrawnRows GatheredRows<T>::Compute(double uniform, const T* input,
                                   const T* out_backprop, void* scratch,
                                   Accumulator* patches,
                                   Accumulator* weighted) const {
  const ConvGeometry& g = geometry_;
  ScratchLayout layout(scratch);
  const RowSamplerScratch own = LayOutRowSampler(g, sampling_, &layout);
  RowSampler<T> sampler(g, sampling_, kernels_, own, uniform, input,
                        out_backprop);
  sampler.Run();
  std::fill_n(patches, sampling_.draws * g.filter_size(), Accumulator{0});
  std::fill_n(weighted, sampling_.draws * g.out_depth,
              sampler.is_finite()
                  ? Accumulator{0}
                  : std::numeric_limits<Accumulator>::quiet_NaN());
  if (!sampler.is_finite()) return {};
  const DrawnRows rows = sampler.drawn_rows(1);
  const bool is_nhwc = g.layout == Layout::kNHWC;
  const int64_t pixels = g.in_rows * g.in_cols;
  for (int64_t place = 0; place < rows.count; ++place) {
    const int64_t row = rows.drawn[place];
    const int64_t image = row / g.positions();
    const auto position = static_cast<int32_t>(row % g.positions());
    const auto weight = static_cast<Accumulator>(rows.weight / rows.size[row]);
    for (int64_t co = 0; co < g.out_depth; ++co) {
      const int64_t at =
          is_nhwc ? row * g.out_depth + co
                  : (image * g.out_depth + co) * g.positions() + position;
      weighted[place * g.out_depth + co] = Load(out_backprop[at]) * weight;
    }
    for (int32_t tap = 0; tap < g.taps(); ++tap) {
      const int64_t pixel = g.PixelUnder(position, tap);
      if (pixel < 0) continue;
      Accumulator* patch = patches + (place * g.taps() + tap) * g.in_depth;
      for (int64_t ci = 0; ci < g.in_depth; ++ci) {
        const int64_t at = is_nhwc ? (image * pixels + pixel) * g.in_depth + ci
                                   : (image * g.in_depth + ci) * pixels + pixel;
        patch[ci] = Load(input[at]);
      }
    }
  }
  return rows;
}

template class GatheredRows<float>;
template class GatheredRows<double>;
template class GatheredRows<Bfloat16>;
template class GatheredRows<Half>;

}  // namespace tf_approxgrad
