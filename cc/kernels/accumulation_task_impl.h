// What the paths of the accumulation share, for one instruction set; included
// inside its namespace.

// What a worker needs to know about the call.
template <typename T>
struct AccumulationTask {
  using Accumulator = typename AccumulatorOf<T>::type;

  const ConvGeometry& g;
  const AccumulationPlan& plan;
  int64_t k;
  Accumulator scale;
  const T* input;
  const int32_t* positions;    // [Co, N, k], or what ListTilePatches made of it
  const Accumulator* weights;  // [Co, N, k]
  T* filter_backprop;
};

// The position's patch: the input row and column of its first tap.
struct Origin {
  int64_t row, col;
};

inline Origin OriginOf(const ConvGeometry& g, double inverse_cols,
                       int32_t position) {
  // Exact for positions below 2^31, and a division takes far longer.
  const int64_t row = static_cast<int64_t>((position + 0.5) * inverse_cols);
  const int64_t col = position - row * g.out_cols;
  return {row * g.stride_rows - g.pad_top, col * g.stride_cols - g.pad_left};
}

// The taps [begin, end) of one filter axis that fall inside the input.
struct AxisRange {
  int64_t begin, end;
};

inline AxisRange InsideTaps(int64_t origin, int64_t dilation, int64_t taps,
                            int64_t size) {
  AxisRange range{0, taps};
  while (range.begin < taps && origin + range.begin * dilation < 0) {
    ++range.begin;
  }
  while (range.end > range.begin &&
         origin + (range.end - 1) * dilation >= size) {
    --range.end;
  }
  return range;
}

// A rectangle of the filter's taps.
struct FilterRange {
  int64_t first_row, end_row;
  int64_t first_col, end_col;

  bool operator==(const FilterRange& other) const {
    return first_row == other.first_row && end_row == other.end_row &&
           first_col == other.first_col && end_col == other.end_col;
  }
};

inline int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Adds listed patches to one channel's sums [taps, chunk], for the taps of
// `range`, block by block. `input` is where the first tap of a patch with
// offset 0 lies, and the strides are the distances between neighbouring taps.
template <typename Accumulator, typename PatchList>
void AddTaps(const AccumulationPlan& plan, int64_t filter_cols,
             const FilterRange& range, const Accumulator* input,
             int64_t row_stride, int64_t col_stride, const PatchList& patches,
             Accumulator* sums) {
  for (int64_t kh = range.first_row; kh < range.end_row; kh += kTapBlock) {
    for (int64_t kw = range.first_col; kw < range.end_col; kw += kTapBlock) {
      const BlockKernels<Accumulator> kernels = KernelsOfBlock<Accumulator>(
          plan.chunk_vectors, Smaller(range.end_row - kh, kTapBlock),
          Smaller(range.end_col - kw, kTapBlock));
      const TapBlock block{kh, kw, row_stride, col_stride,
                           filter_cols * plan.chunk};
      kernels.Run(input + kh * row_stride + kw * col_stride, patches, block,
                  sums + (kh * filter_cols + kw) * plan.chunk);
    }
  }
}

// Writes a group's sums [channels, taps, chunk] as [taps, chunk, channels].
template <typename T, typename Accumulator>
void WriteGroup(const AccumulationTask<T>& task, int64_t chunk,
                int64_t first_channel, int64_t channels,
                const Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const int64_t width = task.plan.chunk;
  const int64_t channel_size = g.taps() * width;
  const int64_t first_in = chunk * width;
  const int64_t in_channels = Smaller(g.in_depth - first_in, width);
  for (int64_t tap = 0; tap < g.taps(); ++tap) {
    for (int64_t c = 0; c < in_channels; ++c) {
      const Accumulator* column = sums + tap * width + c;
      T* out = task.filter_backprop +
               (tap * g.in_depth + first_in + c) * g.out_depth + first_channel;
      for (int64_t co = 0; co < channels; ++co) {
        out[co] = Store<T>(task.scale * column[co * channel_size]);
      }
    }
  }
}
