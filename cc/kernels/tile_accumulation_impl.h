// Accumulation from a tile, for one instruction set; included inside its
// namespace.
//
// A chunk of the channels of some examples is copied into a tile, which stays
// in the L2 cache while all output channels take their patches from it. The
// pixels of a tile don't compete for the same cache sets as those of X do when
// its channels are a power of two, and bfloat16, half and NCHW become
// contiguous floats on the way. Where each patch begins in the tile is the same
// for all chunks and is listed once, before the first.
//
// Patches at the border read zeros that surround each image of the tile. On
// maps of a few positions most taps would: there the tile has no border, and
// patches are sorted into classes that have the same taps inside, and add those
// alone.

// The class of each position, and the taps that a class has inside.
struct PatchClasses {
  int32_t count = 0;
  int32_t of_position[kMostClippedPositions];
  FilterRange ranges[kMostClippedPositions];
};

inline PatchClasses ClassifyPatches(const ConvGeometry& g) {
  PatchClasses classes;
  for (int64_t row = 0; row < g.out_rows; ++row) {
    const AxisRange rows =
        InsideTaps(row * g.stride_rows - g.pad_top, g.dilation_rows,
                   g.filter_rows, g.in_rows);
    for (int64_t col = 0; col < g.out_cols; ++col) {
      const AxisRange cols =
          InsideTaps(col * g.stride_cols - g.pad_left, g.dilation_cols,
                     g.filter_cols, g.in_cols);
      const FilterRange range{rows.begin, rows.end, cols.begin, cols.end};
      int32_t found = 0;
      while (found < classes.count && !(classes.ranges[found] == range)) {
        ++found;
      }
      if (found == classes.count) classes.ranges[classes.count++] = range;
      classes.of_position[row * g.out_cols + col] = found;
    }
  }
  return classes;
}

template <typename Accumulator>
bool AllFinite(const Accumulator* values, int64_t count) {
  int finite = 1;
  for (int64_t i = 0; i < count; ++i) finite &= values[i] - values[i] == 0;
  return finite != 0;
}

// Replaces the positions of one output channel and one tile by offsets of
// patches in the tile.
inline void OffsetsOfPositions(const ConvGeometry& g,
                               const AccumulationPlan& plan, int64_t k,
                               int64_t count, int32_t* positions) {
  const double inverse_cols = 1.0 / g.out_cols;
  const double inverse_k = 1.0 / k;
  const int32_t col_step = static_cast<int32_t>(g.stride_cols * plan.chunk);
  const int32_t row_size = static_cast<int32_t>(plan.tile_cols * plan.chunk);
  const int32_t row_step =
      static_cast<int32_t>(g.stride_rows * row_size - g.out_cols * col_step);
  const int32_t image = static_cast<int32_t>(plan.tile_rows * row_size);
  const int32_t origin =
      static_cast<int32_t>((plan.pad_top - g.pad_top) * row_size +
                           (plan.pad_left - g.pad_left) * plan.chunk);
  for (int32_t i = 0; i < count; ++i) {
    // As in OriginOf: exact, and no division.
    const int32_t position = positions[i];
    const int32_t row = static_cast<int32_t>((position + 0.5) * inverse_cols);
    const int32_t example = static_cast<int32_t>((i + 0.5) * inverse_k);
    positions[i] =
        origin + example * image + row * row_step + position * col_step;
  }
}

// The same for a tile without borders: sorts the patches by class, and counts
// them. The two last are scratch for `count` elements each.
template <typename Accumulator>
void SortByClass(const ConvGeometry& g, const AccumulationPlan& plan, int64_t k,
                 const PatchClasses& classes, int64_t count, int32_t* positions,
                 Accumulator* weights, int32_t* class_counts,
                 int32_t* sorted_offsets, Accumulator* sorted_weights) {
  int32_t offset_of_position[kMostClippedPositions];
  for (int32_t p = 0; p < g.positions(); ++p) offset_of_position[p] = p;
  OffsetsOfPositions(g, plan, g.positions(), g.positions(), offset_of_position);
  int32_t next[kMostClippedPositions] = {};
  for (int64_t i = 0; i < count; ++i) {
    ++next[classes.of_position[positions[i]]];
  }
  int32_t begin = 0;
  for (int32_t c = 0; c < classes.count; ++c) {
    class_counts[c] = next[c];
    next[c] = begin;
    begin += class_counts[c];
  }
  const int32_t image =
      static_cast<int32_t>(plan.tile_rows * plan.tile_cols * plan.chunk);
  int32_t example = 0;
  int64_t rank = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t to = next[classes.of_position[positions[i]]]++;
    sorted_offsets[to] = example + offset_of_position[positions[i]];
    sorted_weights[to] = weights[i];
    if (++rank == k) {
      rank = 0;
      example += image;
    }
  }
  __builtin_memcpy(positions, sorted_offsets, count * sizeof(int32_t));
  __builtin_memcpy(weights, sorted_weights, count * sizeof(Accumulator));
}

// Lists the patches of the output channels [begin, end) for every tile.
template <typename T>
void ListTilePatches(const ConvGeometry& g, const AccumulationPlan& plan,
                     int64_t k, int64_t begin, int64_t end,
                     typename AccumulatorOf<T>::type* scratch,
                     int32_t* positions, int32_t* class_counts,
                     typename AccumulatorOf<T>::type* weights) {
  PatchClasses classes;
  if (plan.clipped) classes = ClassifyPatches(g);
  for (int64_t channel = begin; channel < end; ++channel) {
    for (int64_t tile = 0; tile < plan.tiles; ++tile) {
      const int64_t first = tile * plan.tile_images;
      const int64_t count = Smaller(g.batch - first, plan.tile_images) * k;
      const int64_t entry = (channel * g.batch + first) * k;
      if (plan.clipped) {
        SortByClass(g, plan, k, classes, count, positions + entry,
                    weights + entry,
                    class_counts +
                        (channel * plan.tiles + tile) * kMostClippedPositions,
                    reinterpret_cast<int32_t*>(scratch), scratch + count);
      } else {
        OffsetsOfPositions(g, plan, k, count, positions + entry);
      }
    }
  }
}

// Copies one chunk of the examples [first, last) into the tile
// [images, tile_rows, tile_cols, chunk], with zeros where X has nothing.
template <typename T, typename Accumulator>
void PackTile(const AccumulationTask<T>& task, int64_t chunk, int64_t first,
              int64_t last, Accumulator* tile) {
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t first_channel = chunk * plan.chunk;
  const int64_t channels = Smaller(g.in_depth - first_channel, plan.chunk);
  const int64_t image_size = g.in_rows * g.in_cols * g.in_depth;
  __builtin_memset(tile, 0,
                   (last - first) * plan.tile_rows * plan.tile_cols *
                       plan.chunk * sizeof(Accumulator));
  for (int64_t n = first; n < last; ++n) {
    const T* image = task.input + n * image_size;
    for (int64_t tile_row = 0; tile_row < plan.tile_rows; ++tile_row) {
      const int64_t row = tile_row - plan.pad_top;
      if (row < 0 || row >= g.in_rows) continue;
      Accumulator* to = tile + ((n - first) * plan.tile_rows + tile_row) *
                                   plan.tile_cols * plan.chunk;
      const int64_t begin = plan.pad_left;
      const int64_t end = Smaller(begin + g.in_cols, plan.tile_cols);
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

// Adds the patches that one tile contributes to an output channel.
template <typename T, typename Accumulator>
void AddTilePatches(const AccumulationTask<T>& task,
                    const PatchClasses& classes, const int32_t* class_counts,
                    int64_t channel, int64_t first, int64_t last,
                    const Accumulator* tile, Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t row_stride = g.dilation_rows * plan.tile_cols * plan.chunk;
  const int64_t col_stride = g.dilation_cols * plan.chunk;
  const int64_t entry = (channel * g.batch + first) * task.k;
  Patches<Accumulator> patches{(last - first) * task.k, task.positions + entry,
                               task.weights + entry};
  if (!plan.clipped) {
    const FilterRange all{0, g.filter_rows, 0, g.filter_cols};
    AddTaps(plan, g.filter_cols, all, tile, row_stride, col_stride, patches,
            sums);
    return;
  }
  if (!AllFinite(patches.weights, patches.count)) {
    // Zero times a weight that is not finite is NaN: it must show in all taps.
    const int64_t size = g.taps() * plan.chunk;
    for (int64_t i = 0; i < size; ++i) sums[i] = __builtin_nan("");
    return;
  }
  class_counts +=
      (channel * plan.tiles + first / plan.tile_images) * kMostClippedPositions;
  for (int32_t c = 0; c < classes.count; ++c) {
    patches.count = class_counts[c];
    if (patches.count == 0) continue;
    AddTaps(plan, g.filter_cols, classes.ranges[c], tile, row_stride,
            col_stride, patches, sums);
    patches.offsets += patches.count;
    patches.weights += patches.count;
  }
}
