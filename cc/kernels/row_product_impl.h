// The product of patches and drawn rows, for one instruction set; included
// inside its namespace.
//
// A unit has some input channels, some output channels and a piece of the list
// of drawn rows. For kProductRows of them at a time it
//   1. lists, for every tap, where the rows' pixels are, or zeros outside;
//   2. packs the rows of dY, weighted, as panels [rows, a tile's vectors];
//   3. multiplies: a tile of input channels by a tile of vectors stays in
//      registers while all rows pass by; a row adds one load for each vector
//      and a broadcast for each channel.
// With few output channels X is read where it lies. With many, a tap's pixels
// are gathered first, one line of channels at a time: their addresses lie a
// power of two apart and would drive each other out of L1 before the next panel
// needs them. Meanwhile the next rows' pixels are brought closer.

// What a worker has for a unit.
template <typename Accumulator>
struct ProductScratch {
  // [2, KH * KW, kProductRows]
  const Accumulator** pixels;
  // Panels one after the other, each for kProductRows.
  Accumulator* panels;
  // [kProductRows, kGathered]
  Accumulator* gathered;
  // [KH * KW, in_channels, padded out_channels]
  Accumulator* sums;
};

template <typename T>
int64_t ProductWorkerBytes(const ConvGeometry& g, const ProductPlan& plan) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const int64_t size = sizeof(Accumulator);
  const int64_t padded = PaddedChannels<Accumulator>(plan.out_channels);
  return LineBytes(2 * g.taps() * kProductRows * sizeof(void*)) +
         LineBytes(kProductRows * padded * size) +
         LineBytes(kProductRows * kGathered * size) +
         LineBytes(g.taps() * plan.in_channels * padded * size);
}

template <typename T>
ProductScratch<typename AccumulatorOf<T>::type> ScratchOf(
    const ConvGeometry& g, const ProductPlan& plan, void* scratch) {
  using Accumulator = typename AccumulatorOf<T>::type;
  char* bytes = static_cast<char*>(scratch);
  const int64_t padded = PaddedChannels<Accumulator>(plan.out_channels);
  ProductScratch<Accumulator> own;
  own.pixels = reinterpret_cast<const Accumulator**>(bytes);
  bytes += LineBytes(2 * g.taps() * kProductRows * sizeof(void*));
  own.panels = reinterpret_cast<Accumulator*>(bytes);
  bytes += LineBytes(kProductRows * padded * sizeof(Accumulator));
  own.gathered = reinterpret_cast<Accumulator*>(bytes);
  bytes += LineBytes(kProductRows * kGathered * sizeof(Accumulator));
  own.sums = reinterpret_cast<Accumulator*>(bytes);
  return own;
}

// Drawn rows, each once, their weights and, for every tap, their pixels.
template <typename Accumulator>
struct RowsOfBlock {
  int64_t count = 0;
  int64_t row[kProductRows];
  Accumulator weight[kProductRows];
  const Accumulator** pixels;
};

// Moves `place`, before `end`, behind all draws of the row there, and returns
// their weight.
template <typename Accumulator>
inline Accumulator TakeRow(const DrawnRows& rows, int64_t end, int64_t* place) {
  const int64_t row = rows.drawn[*place];
  int64_t times = 0;
  for (; *place < end && rows.drawn[*place] == row; ++*place) ++times;
  return static_cast<Accumulator>(static_cast<double>(times) * rows.weight /
                                  rows.size[row]);
}

template <typename T, typename Accumulator>
void CollectRows(const ProductTask<T>& task, int64_t begin, int64_t end,
                 int64_t first_out, int64_t out_channels,
                 RowsOfBlock<Accumulator>* rows) {
  rows->count = 0;
  for (int64_t place = begin; place < end;) {
    const int64_t row = task.rows.drawn[place];
    rows->row[rows->count] = row;
    rows->weight[rows->count] = TakeRow<Accumulator>(task.rows, end, &place);
    ++rows->count;
    if (task.g.layout == Layout::kNHWC) {
      const T* values = task.out_backprop + row * task.g.out_depth + first_out;
      for (int64_t co = 0; co < out_channels; co += 64 / sizeof(T)) {
        __builtin_prefetch(values + co);
      }
    }
  }
}

template <typename T, typename Accumulator>
void ListPixels(const ProductTask<T>& task, RowsOfBlock<Accumulator>* rows) {
  const ConvGeometry& g = task.g;
  const int64_t reach_rows = (g.filter_rows - 1) * g.dilation_rows;
  const int64_t reach_cols = (g.filter_cols - 1) * g.dilation_cols;
  for (int64_t i = 0; i < rows->count; ++i) {
    const int64_t image = rows->row[i] / g.positions();
    const int64_t position = rows->row[i] - image * g.positions();
    const int64_t out_row = position / g.out_cols;
    const int64_t top = out_row * g.stride_rows - g.pad_top;
    const int64_t left =
        (position - out_row * g.out_cols) * g.stride_cols - g.pad_left;
    const bool is_inside = top >= 0 && top + reach_rows < g.in_rows &&
                           left >= 0 && left + reach_cols < g.in_cols;
    const int64_t corner = (image * g.in_rows + top) * g.in_cols + left;
    const Accumulator** listed = rows->pixels + i;
    for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
      const int64_t row = top + kh * g.dilation_rows;
      const bool row_inside = row >= 0 && row < g.in_rows;
      int64_t pixel = corner + kh * g.dilation_rows * g.in_cols;
      for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
        const int64_t col = left + kw * g.dilation_cols;
        const bool tap_inside =
            is_inside || (row_inside && col >= 0 && col < g.in_cols);
        *listed = tap_inside ? task.pixels + pixel * g.in_depth : task.zeros;
        listed += kProductRows;
        pixel += g.dilation_cols;
      }
    }
  }
  for (int64_t tap = 0; tap < g.taps(); ++tap) {
    for (int64_t i = rows->count; i < kProductRows; ++i) {
      rows->pixels[tap * kProductRows + i] = task.zeros;
    }
  }
}

// A row's channels [channel, channel + count) times the weight, at most
// `vectors` whole vectors, with zeros behind.
template <typename T, typename Accumulator>
inline void PackVectors(const T* values, int64_t count, Accumulator weight,
                        int vectors, Accumulator* packed) {
  constexpr int kWidth = kLanes<Accumulator>;
  for (int v = 0; v < vectors; ++v) {
    if (count >= kWidth) {
      StoreVector(LoadVector(values) * Broadcast(weight), packed);
    } else {
      for (int lane = 0; lane < kWidth; ++lane) {
        packed[lane] =
            lane < count ? Load(values[lane]) * weight : Accumulator{0};
      }
    }
    values += kWidth;
    count -= kWidth;
    packed += kWidth;
  }
}

// Packs the output channels [first, first + channels) as panels of two vectors,
// and one at the end if their number is odd.
template <typename T, typename Accumulator>
void PackRows(const ProductTask<T>& task, const RowsOfBlock<Accumulator>& rows,
              int64_t first, int64_t channels, Accumulator* panels) {
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  if (g.layout == Layout::kNHWC) {
    for (int64_t i = 0; i < rows.count; ++i) {
      const T* values = task.out_backprop + rows.row[i] * g.out_depth + first;
      for (int64_t c = 0; c < channels; c += 2 * kWidth) {
        const int vectors = channels - c > kWidth ? 2 : 1;
        PackVectors(values + c, channels - c, rows.weight[i], vectors,
                    panels + c * kProductRows + i * vectors * kWidth);
      }
    }
    return;
  }
  // Plane by plane, as they lie in memory.
  int64_t offset[kProductRows];
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t image = rows.row[i] / g.positions();
    offset[i] = rows.row[i] + image * g.positions() * (g.out_depth - 1);
  }
  const int64_t padded = PaddedChannels<Accumulator>(channels);
  for (int64_t c = 0; c < padded; ++c) {
    const int64_t panel = c / (2 * kWidth) * (2 * kWidth);
    const int64_t width = padded - panel > kWidth ? 2 * kWidth : kWidth;
    const T* plane = task.out_backprop + (first + c) * g.positions();
    Accumulator* packed = panels + panel * kProductRows + (c - panel);
    for (int64_t i = 0; i < rows.count; ++i) {
      packed[i * width] = c < channels ? Load(plane[offset[i]]) * rows.weight[i]
                                       : Accumulator{0};
    }
  }
}

template <typename T, typename Accumulator>
void WriteUnitSums(const ProductTask<T>& task, int64_t first_in,
                   int64_t in_channels, int64_t first_out, int64_t out_channels,
                   const Accumulator* sums, int64_t stride) {
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  for (int64_t tap = 0; tap < g.taps(); ++tap) {
    for (int64_t c = 0; c < in_channels; ++c) {
      T* out = task.filter_backprop +
               (tap * g.in_depth + first_in + c) * g.out_depth + first_out;
      int64_t co = 0;
      for (; co + kWidth <= out_channels; co += kWidth) {
        Accumulator values[kWidth];
        StoreVector(LoadVector(sums + co), values);
        for (int lane = 0; lane < kWidth; ++lane) {
          out[co + lane] = Store<T>(values[lane]);
        }
      }
      for (; co < out_channels; ++co) out[co] = Store<T>(sums[co]);
      sums += stride;
    }
  }
}

template <typename T>
void MultiplyUnit(const ProductTask<T>& task, int64_t unit, void* scratch) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  const ProductPlan& plan = task.plan;
  const int64_t out_chunk = unit % plan.out_chunks;
  const int64_t in_chunk = unit / plan.out_chunks % plan.in_chunks;
  const int64_t piece = unit / plan.out_chunks / plan.in_chunks;
  const int64_t first_in = in_chunk * plan.in_channels;
  const int64_t in_end = first_in + plan.in_channels < g.in_depth
                             ? first_in + plan.in_channels
                             : g.in_depth;
  const int64_t first_out = out_chunk * plan.out_channels;
  const int64_t out_channels = g.out_depth - first_out < plan.out_channels
                                   ? g.out_depth - first_out
                                   : plan.out_channels;
  const int64_t padded = PaddedChannels<Accumulator>(out_channels);
  const ProductScratch<Accumulator> own = ScratchOf<T>(g, plan, scratch);
  const int64_t tap_size = (in_end - first_in) * padded;

  const int64_t piece_rows = plan.piece_blocks * kProductRows;
  const int64_t begin = piece * piece_rows;
  const int64_t piece_end =
      piece + 1 == plan.pieces ? task.rows.count : begin + piece_rows;
  const int64_t end = piece_end < task.rows.count ? piece_end : task.rows.count;
  if (begin >= end) {
    for (int64_t i = 0; i < g.taps() * tap_size; ++i) own.sums[i] = 0;
  }
  RowsOfBlock<Accumulator> blocks[2];
  blocks[0].pixels = own.pixels;
  blocks[1].pixels = own.pixels + g.taps() * kProductRows;
  const auto prepare = [&](int64_t block, RowsOfBlock<Accumulator>* rows) {
    const int64_t block_end =
        block + kProductRows < end ? block + kProductRows : end;
    CollectRows(task, block, block_end, first_out, out_channels, rows);
    ListPixels(task, rows);
  };
  if (begin < end) prepare(begin, &blocks[0]);
  for (int64_t block = begin; block < end; block += kProductRows) {
    const RowsOfBlock<Accumulator>& rows = blocks[0];
    const bool is_last = block + kProductRows >= end;
    PackRows(task, rows, first_out, out_channels, own.panels);
    if (!is_last) prepare(block + kProductRows, &blocks[1]);
    for (int64_t tap = 0; tap < g.taps(); ++tap) {
      TileRows<Accumulator> tile_rows{rows.count,
                                      rows.pixels + tap * kProductRows,
                                      blocks[1].pixels + tap * kProductRows,
                                      own.gathered,
                                      own.panels,
                                      block == begin};
      Accumulator* sums = own.sums + tap * tap_size;
      if (padded <= kMostInPlace * kWidth) {
        for (int64_t co = 0; co < padded; co += 2 * kWidth) {
          const bool has_two = padded - co > kWidth;
          tile_rows.panel = own.panels + co * kProductRows;
          if (is_last || co > 0) {
            MultiplyPanel<Pixels::kInPlace>(tile_rows, has_two, first_in,
                                            in_end, sums + co, padded);
          } else {
            MultiplyPanel<Pixels::kInPlaceFetchingLater>(
                tile_rows, has_two, first_in, in_end, sums, padded);
          }
        }
        continue;
      }
      for (int64_t c = first_in; c < in_end; c += kGathered) {
        const int64_t channels =
            in_end - c < kGathered ? in_end - c : kGathered;
        GatherPixels(tile_rows, !is_last, c, channels, own.gathered);
        for (int64_t co = 0; co < padded; co += 2 * kWidth) {
          tile_rows.panel = own.panels + co * kProductRows;
          MultiplyPanel<Pixels::kGathered>(tile_rows, padded - co > kWidth, 0,
                                           channels, sums + co, padded);
        }
        sums += kGathered * padded;
      }
    }
    const RowsOfBlock<Accumulator> done = blocks[0];
    blocks[0] = blocks[1];
    blocks[1].pixels = done.pixels;
  }
  if (plan.pieces == 1) {
    WriteUnitSums(task, first_in, in_end - first_in, first_out, out_channels,
                  own.sums, padded);
    return;
  }
  const Accumulator* sums = own.sums;
  for (int64_t tap = 0; tap < g.taps(); ++tap) {
    for (int64_t c = first_in; c < in_end; ++c) {
      __builtin_memcpy(
          task.piece_sums +
              ((piece * g.taps() + tap) * g.in_depth + c) * g.out_depth +
              first_out,
          sums, out_channels * sizeof(Accumulator));
      sums += padded;
    }
  }
}

template <typename T>
void AddPieces(const ProductTask<T>& task, int64_t begin, int64_t end) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const int64_t size = task.g.filter_size() * task.g.out_depth;
  for (int64_t i = begin; i < end; ++i) {
    Accumulator sum = task.piece_sums[i];
    for (int64_t piece = 1; piece < task.plan.pieces; ++piece) {
      sum += task.piece_sums[piece * size + i];
    }
    task.filter_backprop[i] = Store<T>(sum);
  }
}
