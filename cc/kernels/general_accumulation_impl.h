// The accumulation of what neither a tile nor vectors suit (a few channels on
// large maps), patch by patch, for one instruction set; included inside its
// namespace.

// Adds one patch to the sums [taps, Ci] of its output channel.
template <typename T, typename Accumulator>
void AddPatch(const ConvGeometry& g, const T* image, Origin origin,
              Accumulator weight, Accumulator* sums) {
  const bool nhwc = g.layout == Layout::kNHWC;
  const int64_t channel_stride = nhwc ? 1 : g.in_rows * g.in_cols;
  const int64_t pixel = nhwc ? g.in_depth : 1;
  const AxisRange rows =
      InsideTaps(origin.row, g.dilation_rows, g.filter_rows, g.in_rows);
  const AxisRange cols =
      InsideTaps(origin.col, g.dilation_cols, g.filter_cols, g.in_cols);
  for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
    for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
      Accumulator* tap_sums = sums + (kh * g.filter_cols + kw) * g.in_depth;
      const bool inside = kh >= rows.begin && kh < rows.end &&
                          kw >= cols.begin && kw < cols.end;
      if (inside) {
        const T* from =
            image + ((origin.row + kh * g.dilation_rows) * g.in_cols +
                     origin.col + kw * g.dilation_cols) *
                        pixel;
        for (int64_t ci = 0; ci < g.in_depth; ++ci) {
          tap_sums[ci] += weight * Load(from[ci * channel_stride]);
        }
      } else if (!(weight - weight == 0)) {
        // Zero times a weight that is not finite is NaN: it must show.
        for (int64_t ci = 0; ci < g.in_depth; ++ci) tap_sums[ci] += weight * 0;
      }
    }
  }
}

template <typename T>
void AccumulateGeneral(const AccumulationTask<T>& task, int64_t begin,
                       int64_t end, typename AccumulatorOf<T>::type* all_sums) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const ConvGeometry& g = task.g;
  const double inverse_cols = 1.0 / g.out_cols;
  const int64_t image_size = g.in_rows * g.in_cols * g.in_depth;
  for (int64_t group = begin; group < end; ++group) {
    const int64_t channel = group * kAccumulationGroup;
    const int64_t channels = Smaller(g.out_depth - channel, kAccumulationGroup);
    Accumulator* sums = all_sums + channel * g.filter_size();
    __builtin_memset(sums, 0, channels * g.filter_size() * sizeof(Accumulator));
    for (int64_t n = 0; n < g.batch; ++n) {
      for (int64_t co = 0; co < channels; ++co) {
        const int64_t kept = ((channel + co) * g.batch + n) * task.k;
        for (int64_t j = kept; j < kept + task.k; ++j) {
          AddPatch(g, task.input + n * image_size,
                   OriginOf(g, inverse_cols, task.positions[j]),
                   task.weights[j], sums + co * g.filter_size());
        }
      }
    }
    WriteGroup(task, 0, channel, channels, sums);
  }
}
