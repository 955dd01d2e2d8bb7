// Accumulation from X where it lies, for one instruction set; included inside
// its namespace. It pays where each pixel is used about once. The taps of a
// border patch that fall outside read a row of zeros instead.

// Patches that are listed before they are added.
constexpr int kListedPatches = 256;

// A bit for each tap of one axis that lies inside the input.
inline uint64_t InsideBits(int64_t origin, int64_t dilation, int64_t taps,
                           int64_t size) {
  uint64_t bits = 0;
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t index = origin + tap * dilation;
    bits |= static_cast<uint64_t>(index >= 0 && index < size) << tap;
  }
  return bits;
}

// Adds the patches that the examples [first, last) contribute to one output
// channel and one chunk.
template <typename T, typename Accumulator>
void AddDirectPatches(const AccumulationTask<T>& task, int64_t channel,
                      int64_t chunk, int64_t first, int64_t last,
                      Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const double inverse_cols = 1.0 / g.out_cols;
  const int64_t pixel = g.in_depth;
  const int64_t row_size = pixel * g.in_cols;
  const int64_t image = row_size * g.in_rows;
  const int64_t row_stride = g.dilation_rows * row_size;
  const int64_t col_stride = g.dilation_cols * pixel;
  const int64_t row_span = (g.filter_rows - 1) * g.dilation_rows;
  const int64_t col_span = (g.filter_cols - 1) * g.dilation_cols;
  const FilterRange all{0, g.filter_rows, 0, g.filter_cols};
  // This path is planned only where X holds accumulators already.
  const Accumulator* input = reinterpret_cast<const Accumulator*>(task.input) +
                             first * image + chunk * task.plan.chunk;

  int32_t inside_offsets[kListedPatches];
  Accumulator inside_weights[kListedPatches];
  int32_t border_offsets[kListedPatches];
  Accumulator border_weights[kListedPatches];
  uint64_t border_rows[kListedPatches];
  uint64_t border_cols[kListedPatches];
  const int64_t end = (channel * g.batch + last) * task.k;
  int64_t entry = (channel * g.batch + first) * task.k;
  int64_t example = 0;
  int64_t rank = 0;
  while (entry < end) {
    int64_t inside = 0;
    int64_t border = 0;
    const int64_t stop = Smaller(end, entry + kListedPatches);
    for (; entry < stop; ++entry) {
      const Origin origin = OriginOf(g, inverse_cols, task.positions[entry]);
      const int32_t offset = static_cast<int32_t>(
          example + origin.row * row_size + origin.col * pixel);
      if (origin.row >= 0 && origin.row + row_span < g.in_rows &&
          origin.col >= 0 && origin.col + col_span < g.in_cols) {
        inside_offsets[inside] = offset;
        inside_weights[inside++] = task.weights[entry];
      } else {
        border_offsets[border] = offset;
        border_weights[border] = task.weights[entry];
        border_rows[border] =
            InsideBits(origin.row, g.dilation_rows, g.filter_rows, g.in_rows);
        border_cols[border++] =
            InsideBits(origin.col, g.dilation_cols, g.filter_cols, g.in_cols);
      }
      if (++rank == task.k) {
        rank = 0;
        example += image;
      }
    }
    if (inside > 0) {
      const Patches<Accumulator> patches{inside, inside_offsets,
                                         inside_weights};
      AddTaps(task.plan, g.filter_cols, all, input, row_stride, col_stride,
              patches, sums);
    }
    if (border > 0) {
      const BorderPatches<Accumulator> patches{
          {border, border_offsets, border_weights}, border_rows, border_cols};
      AddTaps(task.plan, g.filter_cols, all, input, row_stride, col_stride,
              patches, sums);
    }
  }
}
