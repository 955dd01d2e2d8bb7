// Accumulation for one instruction set; included inside its namespace.
//
// A unit is a chunk of input channels (kVectors vectors wide) and a group of
// kGroup output channels. For each output channel the sums of up to 3x3 taps by
// one chunk live in registers while the kept positions of a tile of examples
// stream by: per position one broadcast of its weight, and per tap and vector
// one load of X fused into a multiply-add. The examples of a tile are as many
// as keep their part of X in the L2 cache, so that X comes from memory once for
// all the output channels of a range.
//
// kDirect reads X where it lies; the taps of a border patch that fall outside
// read a row of zeros instead. kPacked first copies the chunk of X into a tile
// of its own with a border of zeros, which pays where each pixel is used
// several times: no patch needs a check, the pixels of a tile don't compete for
// the same cache sets as they do when the channels are a power of two, and
// bfloat16, half and NCHW become contiguous floats on the way. kGeneral takes
// what is left (few channels on large maps, very large tiles), patch by patch.

// Taps outside the input are read here; as wide as the widest chunk.
alignas(64) static const char kZeros[8 * TF_APPROXGRAD_VECTOR_BYTES] = {};

// Patches that are listed before they are added.
constexpr int kMaxPatches = 256;

// The sums of kRows x kCols taps by kVectors vectors, in registers.
template <int kRows, int kCols, int kVectors, typename Accumulator>
struct RegisterSums {
  static constexpr int kWidth = kLanes<Accumulator>;

  Vector<Accumulator> sum[kRows][kCols][kVectors];

  inline __attribute__((always_inline)) void Load(const Accumulator* sums,
                                                  int64_t row_stride) {
#pragma GCC unroll 3
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 24
      for (int i = 0; i < kCols * kVectors; ++i) {
        sum[row][i / kVectors][i % kVectors] =
            LoadVector(sums + row * row_stride + i * kWidth);
      }
    }
  }

  inline __attribute__((always_inline)) void Store(Accumulator* sums,
                                                   int64_t row_stride) const {
#pragma GCC unroll 3
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 24
      for (int i = 0; i < kCols * kVectors; ++i) {
        StoreVector(sum[row][i / kVectors][i % kVectors],
                    sums + row * row_stride + i * kWidth);
      }
    }
  }

  inline __attribute__((always_inline)) void Add(Vector<Accumulator> weight,
                                                 int row, int col,
                                                 const Accumulator* tap) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[row][col][v] += weight * LoadVector(tap + v * kWidth);
    }
  }
};

// The patches of one output channel in a tile: where each begins, its weight,
// and for border patches which rows and columns lie inside, bit by bit.
template <typename Accumulator>
struct Patches {
  int64_t count = 0;
  int64_t offsets[kMaxPatches];
  Accumulator weights[kMaxPatches];
};

template <typename Accumulator>
struct BorderPatches : Patches<Accumulator> {
  uint64_t rows[kMaxPatches];
  uint64_t cols[kMaxPatches];
};

// A block of the filter's taps, and the distances that lead through it.
struct TapBlock {
  int64_t first_row, first_col;
  int64_t row_stride, col_stride;  // in the input or tile, in elements
  int64_t sums_row_stride;
};

// The hot loop: adds weighted patches, all of whose taps lie inside, to the
// sums of one output channel, for a block of taps and one chunk.
template <int kRows, int kCols, int kVectors, typename Accumulator>
void AddPatches(const Accumulator* input, const Patches<Accumulator>& patches,
                const TapBlock& block, Accumulator* sums) {
  RegisterSums<kRows, kCols, kVectors, Accumulator> registers;
  registers.Load(sums, block.sums_row_stride);
  const int64_t row_stride = block.row_stride;
  const int64_t col_stride = block.col_stride;
  for (int64_t i = 0; i < patches.count; ++i) {
    const Accumulator* patch = input + patches.offsets[i];
    const Vector<Accumulator> weight = Broadcast(patches.weights[i]);
#pragma GCC unroll 3
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 3
      for (int col = 0; col < kCols; ++col) {
        registers.Add(weight, row, col,
                      patch + row * row_stride + col * col_stride);
      }
    }
  }
  registers.Store(sums, block.sums_row_stride);
}

// The same for patches of which some taps lie outside and read zeros.
template <int kRows, int kCols, int kVectors, typename Accumulator>
void AddBorderPatches(const Accumulator* input,
                      const BorderPatches<Accumulator>& patches,
                      const TapBlock& block, Accumulator* sums) {
  const Accumulator* zeros = reinterpret_cast<const Accumulator*>(kZeros);
  RegisterSums<kRows, kCols, kVectors, Accumulator> registers;
  registers.Load(sums, block.sums_row_stride);
  for (int64_t i = 0; i < patches.count; ++i) {
    const uint64_t rows = patches.rows[i] >> block.first_row;
    const uint64_t cols = patches.cols[i] >> block.first_col;
    const int64_t offset = patches.offsets[i];
    const Vector<Accumulator> weight = Broadcast(patches.weights[i]);
#pragma GCC unroll 3
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 3
      for (int col = 0; col < kCols; ++col) {
        const bool inside = ((rows >> row) & (cols >> col) & 1) != 0;
        const int64_t tap =
            offset + row * block.row_stride + col * block.col_stride;
        registers.Add(weight, row, col, inside ? input + tap : zeros);
      }
    }
  }
  registers.Store(sums, block.sums_row_stride);
}

template <typename Accumulator>
using AddPatchesFunction = void (*)(const Accumulator*,
                                    const Patches<Accumulator>&,
                                    const TapBlock&, Accumulator*);
template <typename Accumulator>
using AddBorderPatchesFunction = void (*)(const Accumulator*,
                                          const BorderPatches<Accumulator>&,
                                          const TapBlock&, Accumulator*);

// The two kernels for a block of rows x cols taps.
template <typename Accumulator>
struct BlockKernels {
  AddPatchesFunction<Accumulator> inside;
  AddBorderPatchesFunction<Accumulator> border;
};

template <int kRows, int kCols, int kVectors, typename Accumulator>
BlockKernels<Accumulator> MakeBlockKernels() {
  return {&AddPatches<kRows, kCols, kVectors, Accumulator>,
          &AddBorderPatches<kRows, kCols, kVectors, Accumulator>};
}

template <int kVectors, typename Accumulator>
BlockKernels<Accumulator> KernelsOfBlock(int64_t rows, int64_t cols) {
  static const BlockKernels<Accumulator> kernels[3][3] = {
      {MakeBlockKernels<1, 1, kVectors, Accumulator>(),
       MakeBlockKernels<1, 2, kVectors, Accumulator>(),
       MakeBlockKernels<1, 3, kVectors, Accumulator>()},
      {MakeBlockKernels<2, 1, kVectors, Accumulator>(),
       MakeBlockKernels<2, 2, kVectors, Accumulator>(),
       MakeBlockKernels<2, 3, kVectors, Accumulator>()},
      {MakeBlockKernels<3, 1, kVectors, Accumulator>(),
       MakeBlockKernels<3, 2, kVectors, Accumulator>(),
       MakeBlockKernels<3, 3, kVectors, Accumulator>()}};
  return kernels[rows - 1][cols - 1];
}

// More than 2 vectors are planned for a single tap only.
template <typename Accumulator>
BlockKernels<Accumulator> KernelsOfBlock(int chunk_vectors, int64_t rows,
                                         int64_t cols) {
  switch (chunk_vectors) {
    case 8:
      return MakeBlockKernels<1, 1, 8, Accumulator>();
    case 4:
      return MakeBlockKernels<1, 1, 4, Accumulator>();
    case 2:
      return KernelsOfBlock<2, Accumulator>(rows, cols);
    default:
      return KernelsOfBlock<1, Accumulator>(rows, cols);
  }
}

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

// What a worker needs to know about the call.
template <typename T>
struct AccumulationTask {
  using Accumulator = typename AccumulatorOf<T>::type;

  const ConvGeometry& g;
  const AccumulationPlan& plan;
  int64_t k;
  const T* input;
  const int32_t* positions;    // [Co, N, k]
  const Accumulator* weights;  // [Co, N, k]
  Accumulator scale;
  Accumulator* sums;  // [chunks, Co, taps, chunk]
  T* filter_backprop;
};

// Copies one chunk of the examples [first, last) into the tile
// [images, tile_rows, tile_cols, chunk], with zeros where X has nothing.
template <typename T, typename Accumulator>
void PackTile(const AccumulationTask<T>& task, int64_t chunk, int64_t first,
              int64_t last, Accumulator* tile) {
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t first_channel = chunk * plan.chunk;
  int64_t channels = g.in_depth - first_channel;
  if (channels > plan.chunk) channels = plan.chunk;
  const int64_t image_size = g.in_rows * g.in_cols * g.in_depth;
  __builtin_memset(tile, 0,
                   (last - first) * plan.tile_rows * plan.tile_cols *
                       plan.chunk * sizeof(Accumulator));
  for (int64_t n = first; n < last; ++n) {
    const T* image = task.input + n * image_size;
    for (int64_t tile_row = 0; tile_row < plan.tile_rows; ++tile_row) {
      const int64_t row = tile_row - g.pad_top;
      if (row < 0 || row >= g.in_rows) continue;
      Accumulator* to = tile + ((n - first) * plan.tile_rows + tile_row) *
                                   plan.tile_cols * plan.chunk;
      const int64_t begin = g.pad_left;
      int64_t end = g.pad_left + g.in_cols;
      if (end > plan.tile_cols) end = plan.tile_cols;
      if (g.layout == Layout::kNCHW) {
        for (int64_t c = 0; c < channels; ++c) {
          const T* from =
              image + ((first_channel + c) * g.in_rows + row) * g.in_cols;
          for (int64_t col = begin; col < end; ++col) {
            to[col * plan.chunk + c] = Load(from[col - begin]);
          }
        }
        continue;
      }
      const T* from = image + row * g.in_cols * g.in_depth + first_channel;
      for (int64_t col = begin; col < end; ++col) {
        const T* pixel = from + (col - begin) * g.in_depth;
        Accumulator* pixel_to = to + col * plan.chunk;
        int64_t c = 0;
        for (; c + kWidth <= channels; c += kWidth) {
          StoreVector(LoadVector(pixel + c), pixel_to + c);
        }
        for (; c < channels; ++c) pixel_to[c] = Load(pixel[c]);
      }
    }
  }
}

// Adds all patches in the lists to one channel's sums, tap block by tap block.
template <typename T, typename Accumulator>
void AddAllTaps(const AccumulationTask<T>& task, const Accumulator* input,
                int64_t row_stride, int64_t col_stride,
                const Patches<Accumulator>& inside,
                const BorderPatches<Accumulator>& border, Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const int64_t chunk = task.plan.chunk;
  for (int64_t kh = 0; kh < g.filter_rows; kh += kTapBlock) {
    for (int64_t kw = 0; kw < g.filter_cols; kw += kTapBlock) {
      const int64_t rows =
          g.filter_rows - kh < kTapBlock ? g.filter_rows - kh : kTapBlock;
      const int64_t cols =
          g.filter_cols - kw < kTapBlock ? g.filter_cols - kw : kTapBlock;
      const BlockKernels<Accumulator> kernels =
          KernelsOfBlock<Accumulator>(task.plan.chunk_vectors, rows, cols);
      const TapBlock block{kh, kw, row_stride, col_stride,
                           g.filter_cols * chunk};
      const Accumulator* first_tap = input + kh * row_stride + kw * col_stride;
      Accumulator* block_sums = sums + (kh * g.filter_cols + kw) * chunk;
      if (inside.count > 0)
        kernels.inside(first_tap, inside, block, block_sums);
      if (border.count > 0)
        kernels.border(first_tap, border, block, block_sums);
    }
  }
}

// Adds the patches that the examples [first, last) contribute to one output
// channel and one chunk. `input` is the tile, or for kDirect X itself.
template <typename T, typename Accumulator>
void AddExamples(const AccumulationTask<T>& task, const Accumulator* input,
                 int64_t channel, int64_t chunk, int64_t first, int64_t last,
                 Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const bool packed = plan.path == AccumulationPath::kPacked;
  const double inverse_cols = 1.0 / g.out_cols;
  // Distances in the tile or in X between pixels, rows and examples.
  const int64_t pixel = packed ? plan.chunk : g.in_depth;
  const int64_t row_size = pixel * (packed ? plan.tile_cols : g.in_cols);
  const int64_t image = row_size * (packed ? plan.tile_rows : g.in_rows);
  const int64_t row_stride = g.dilation_rows * row_size;
  const int64_t col_stride = g.dilation_cols * pixel;
  const int64_t row_span = (g.filter_rows - 1) * g.dilation_rows;
  const int64_t col_span = (g.filter_cols - 1) * g.dilation_cols;

  Patches<Accumulator> inside;
  BorderPatches<Accumulator> border;
  const int64_t end = last * task.k;
  int64_t entry = first * task.k;
  const int32_t* positions = task.positions + channel * g.batch * task.k;
  const Accumulator* weights = task.weights + channel * g.batch * task.k;
  int64_t n = first;
  int64_t j = 0;
  while (entry < end) {
    inside.count = 0;
    border.count = 0;
    const int64_t stop = end - entry < kMaxPatches ? end : entry + kMaxPatches;
    for (; entry < stop; ++entry) {
      const Origin origin = OriginOf(g, inverse_cols, positions[entry]);
      const Accumulator weight = weights[entry];
      if (packed) {
        const int64_t i = inside.count++;
        inside.weights[i] = weight;
        inside.offsets[i] = (n - first) * image +
                            (origin.row + g.pad_top) * row_size +
                            (origin.col + g.pad_left) * pixel;
      } else {
        const int64_t offset = n * image + origin.row * row_size +
                               origin.col * pixel + chunk * plan.chunk;
        const bool is_inside =
            origin.row >= 0 && origin.row + row_span < g.in_rows &&
            origin.col >= 0 && origin.col + col_span < g.in_cols;
        if (is_inside) {
          const int64_t i = inside.count++;
          inside.weights[i] = weight;
          inside.offsets[i] = offset;
        } else {
          const int64_t i = border.count++;
          border.weights[i] = weight;
          border.offsets[i] = offset;
          border.rows[i] =
              InsideBits(origin.row, g.dilation_rows, g.filter_rows, g.in_rows);
          border.cols[i] =
              InsideBits(origin.col, g.dilation_cols, g.filter_cols, g.in_cols);
        }
      }
      if (++j == task.k) {
        j = 0;
        ++n;
      }
    }
    AddAllTaps(task, input, row_stride, col_stride, inside, border, sums);
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
  const int64_t in_channels =
      g.in_depth - first_in < width ? g.in_depth - first_in : width;
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

// One chunk for the output channels of the groups [first_group, last_group).
template <typename T, typename Accumulator>
void AccumulateChunk(const AccumulationTask<T>& task, int64_t chunk,
                     int64_t first_group, int64_t last_group,
                     Accumulator* tile) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t channel_size = g.taps() * plan.chunk;
  for (int64_t first = 0; first < g.batch; first += plan.tile_images) {
    const int64_t last =
        first + plan.tile_images < g.batch ? first + plan.tile_images : g.batch;
    // kDirect is planned only where X holds accumulators already.
    const Accumulator* input = reinterpret_cast<const Accumulator*>(task.input);
    if (plan.path == AccumulationPath::kPacked) {
      PackTile(task, chunk, first, last, tile);
      input = tile;
    }
    for (int64_t group = first_group; group < last_group; ++group) {
      const int64_t channel = group * kAccumulationGroup;
      const int64_t channels = g.out_depth - channel < kAccumulationGroup
                                   ? g.out_depth - channel
                                   : kAccumulationGroup;
      Accumulator* sums =
          task.sums + (chunk * g.out_depth + channel) * channel_size;
      if (first == 0) {
        __builtin_memset(sums, 0,
                         channels * channel_size * sizeof(Accumulator));
      }
      for (int64_t co = 0; co < channels; ++co) {
        AddExamples(task, input, channel + co, chunk, first, last,
                    sums + co * channel_size);
      }
      if (last == g.batch) WriteGroup(task, chunk, channel, channels, sums);
    }
  }
}

// The taps [begin, end) of one filter axis that fall inside the input.
struct TapRange {
  int64_t begin;
  int64_t end;
};

inline TapRange InsideTaps(int64_t origin, int64_t dilation, int64_t taps,
                           int64_t size) {
  TapRange range{0, taps};
  while (range.begin < taps && origin + range.begin * dilation < 0) {
    ++range.begin;
  }
  while (range.end > range.begin &&
         origin + (range.end - 1) * dilation >= size) {
    --range.end;
  }
  return range;
}

// kGeneral: adds one patch to the sums [taps, Ci] of its output channel.
template <typename T, typename Accumulator>
void AddPatch(const ConvGeometry& g, const T* image, Origin origin,
              Accumulator weight, Accumulator* sums) {
  const bool nhwc = g.layout == Layout::kNHWC;
  const int64_t channel_stride = nhwc ? 1 : g.in_rows * g.in_cols;
  const int64_t pixel = nhwc ? g.in_depth : 1;
  const TapRange rows =
      InsideTaps(origin.row, g.dilation_rows, g.filter_rows, g.in_rows);
  const TapRange cols =
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
                       int64_t end) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const ConvGeometry& g = task.g;
  const double inverse_cols = 1.0 / g.out_cols;
  const int64_t image_size = g.in_rows * g.in_cols * g.in_depth;
  for (int64_t group = begin; group < end; ++group) {
    const int64_t channel = group * kAccumulationGroup;
    const int64_t channels = g.out_depth - channel < kAccumulationGroup
                                 ? g.out_depth - channel
                                 : kAccumulationGroup;
    Accumulator* sums = task.sums + channel * g.filter_size();
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

template <typename T>
void AccumulatePatches(const ConvGeometry& g, const AccumulationPlan& plan,
                       int64_t k, double scale, const T* input,
                       const int32_t* positions,
                       const typename AccumulatorOf<T>::type* weights,
                       int64_t begin, int64_t end,
                       typename AccumulatorOf<T>::type* tile,
                       typename AccumulatorOf<T>::type* sums,
                       T* filter_backprop) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const AccumulationTask<T> task{g,
                                 plan,
                                 k,
                                 input,
                                 positions,
                                 weights,
                                 static_cast<Accumulator>(scale),
                                 sums,
                                 filter_backprop};
  if (plan.path == AccumulationPath::kGeneral) {
    AccumulateGeneral(task, begin, end);
    return;
  }
  // Units count the groups of the first chunk, then of the second, and so on.
  while (begin < end) {
    const int64_t chunk = begin / plan.groups;
    const int64_t first_group = begin % plan.groups;
    int64_t last_group = first_group + (end - begin);
    if (last_group > plan.groups) last_group = plan.groups;
    AccumulateChunk(task, chunk, first_group, last_group, tile);
    begin += last_group - first_group;
  }
}
