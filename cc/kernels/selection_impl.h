// Selection for one instruction set; included inside its namespace.
//
// How the work is partitioned. NHWC: a unit is one example and kBlockVectors
// vectors of channels; the rows of dY are read once, front to back, each row of
// the block contiguous, with the running sums, maxima and positions in
// registers. NCHW: a unit is one plane, scanned as if neighbouring positions
// were channels, and the lanes are merged at the end.
//
// 1 < k <= kMaxSorted: each lane keeps its k largest in descending order. A row
// costs one comparison with the least of them, unless a lane has to let a new
// one in; then it is put in place by k vector comparisons, without a branch.
// k beyond that: a heap for each channel.

constexpr int kBlockVectors = 4;
constexpr int kMaxSorted = 16;

// Reads one vector of neighbouring elements of a row, or the first `count`
// elements of it where the row ends before the vector does.
template <typename T>
struct RowReader {
  using Accumulator = typename AccumulatorOf<T>::type;

  int count;

  Vector<Accumulator> operator()(const T* values) const {
    if (count >= kLanes<Accumulator>) return LoadVector(values);
    T padded[kLanes<Accumulator>] = {};
    for (int lane = 0; lane < count; ++lane) padded[lane] = values[lane];
    return LoadVector(padded);
  }
};

// Sum, largest magnitude and its row, lane by lane. The strict comparison keeps
// the lowest row on ties; a NaN never wins it, but it is in the sum.
template <typename Accumulator, int kVectors>
struct LaneMaxima {
  Accumulator sum[kVectors * kLanes<Accumulator>];
  Accumulator largest[kVectors * kLanes<Accumulator>];
  int32_t row[kVectors * kLanes<Accumulator>];
};

template <int kVectors, typename T, typename Accumulator>
void ScanRows(const T* values, int64_t rows, int64_t row_stride,
              RowReader<T> read, LaneMaxima<Accumulator, kVectors>* maxima) {
  constexpr int kWidth = kLanes<Accumulator>;
  Vector<Accumulator> sum[kVectors];
  Vector<Accumulator> largest[kVectors];
  Integers<Accumulator> largest_row[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    sum[v] = Vector<Accumulator>{};
    largest[v] = Broadcast<Accumulator>(-1);
    largest_row[v] = Integers<Accumulator>{};
  }
  Integers<Accumulator> row_number{};
  for (int64_t row = 0; row < rows; ++row) {
    const T* row_values = values + row * row_stride;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vector<Accumulator> value = read(row_values + v * kWidth);
      const Vector<Accumulator> magnitude = Magnitudes<Accumulator>(value);
      const auto greater = magnitude > largest[v];
      sum[v] += value;
      largest[v] = greater ? magnitude : largest[v];
      largest_row[v] = greater ? row_number : largest_row[v];
    }
    row_number += 1;
  }
  for (int v = 0; v < kVectors; ++v) {
    StoreVector(sum[v], maxima->sum + v * kWidth);
    StoreVector(largest[v], maxima->largest + v * kWidth);
    for (int lane = 0; lane < kWidth; ++lane) {
      maxima->row[v * kWidth + lane] =
          static_cast<int32_t>(largest_row[v][lane]);
    }
  }
}

// k = 1 for kVectors vectors of neighbouring NHWC channels, of which the last
// may be partial: `width` channels in all.
template <int kVectors, typename T, typename Accumulator>
void KeepLargest(const T* values, const ConvGeometry& g, int width,
                 int64_t kept_stride, int32_t* positions,
                 Accumulator* weights) {
  LaneMaxima<Accumulator, kVectors> maxima;
  ScanRows<kVectors>(values, g.positions(), g.out_depth, RowReader<T>{width},
                     &maxima);
  for (int lane = 0; lane < width; ++lane) {
    positions[lane * kept_stride] = maxima.row[lane];
    weights[lane * kept_stride] = maxima.sum[lane];
  }
}

// 1 < k <= kMaxSorted for up to one vector of neighbouring NHWC channels.
template <typename T, typename Accumulator>
void KeepSorted(const T* values, const ConvGeometry& g, int width, int k,
                int64_t kept_stride, int32_t* positions, Accumulator* weights) {
  const RowReader<T> read{width};
  Vector<Accumulator> sum{};
  Vector<Accumulator> magnitude[kMaxSorted];
  Vector<Accumulator> kept[kMaxSorted];
  Integers<Accumulator> kept_row[kMaxSorted];
  for (int j = 0; j < k; ++j) {
    magnitude[j] = Broadcast<Accumulator>(-1);
    kept[j] = Vector<Accumulator>{};
    kept_row[j] = Integers<Accumulator>{};
  }
  Integers<Accumulator> row_number{};
  const int64_t rows = g.positions();
  for (int64_t row = 0; row < rows; ++row, row_number += 1) {
    const Vector<Accumulator> value = read(values + row * g.out_depth);
    const Vector<Accumulator> size = Magnitudes<Accumulator>(value);
    sum += value;
    auto enters = size > magnitude[k - 1];
    if (!AnyLane(enters)) continue;
    // From the last place to the first: whoever is smaller moves back by one,
    // and the newcomer takes the place behind the last that isn't.
    for (int j = k - 1; j > 0; --j) {
      const auto before = size > magnitude[j - 1];
      const Vector<Accumulator> moved = before ? magnitude[j - 1] : size;
      const Vector<Accumulator> moved_value = before ? kept[j - 1] : value;
      const Integers<Accumulator> moved_row =
          before ? kept_row[j - 1] : row_number;
      magnitude[j] = enters ? moved : magnitude[j];
      kept[j] = enters ? moved_value : kept[j];
      kept_row[j] = enters ? moved_row : kept_row[j];
      enters = before;
    }
    magnitude[0] = enters ? size : magnitude[0];
    kept[0] = enters ? value : kept[0];
    kept_row[0] = enters ? row_number : kept_row[0];
  }
  Vector<Accumulator> kept_sum{};
  for (int j = 0; j < k; ++j) kept_sum += kept[j];
  const Vector<Accumulator> share =
      (sum - kept_sum) / Broadcast(static_cast<Accumulator>(k));
  for (int j = 0; j < k; ++j) {
    const Vector<Accumulator> weight = kept[j] + share;
    for (int lane = 0; lane < width; ++lane) {
      positions[lane * kept_stride + j] =
          static_cast<int32_t>(kept_row[j][lane]);
      weights[lane * kept_stride + j] = weight[lane];
    }
  }
}

template <typename Accumulator>
inline Accumulator Magnitude(Accumulator value) {
  return value < 0 ? -value : value;
}

// The k kept values of one channel and their positions, as a binary heap with
// the first to be displaced on top: the smallest magnitude, and of several such
// the highest position.
template <typename Accumulator>
class KeptHeap {
 public:
  KeptHeap(int64_t k, int32_t* positions, Accumulator* values)
      : k_(k), positions_(positions), values_(values) {}

  Accumulator threshold() const { return Magnitude(values_[0]); }

  // Takes the first k values as they come.
  void Put(int64_t index, Accumulator value) {
    values_[index] = value;
    positions_[index] = static_cast<int32_t>(index);
    if (index + 1 == k_) {
      for (int64_t parent = k_ / 2; parent-- > 0;) SiftDown(parent);
    }
  }

  void ReplaceTop(int64_t position, Accumulator value) {
    values_[0] = value;
    positions_[0] = static_cast<int32_t>(position);
    SiftDown(0);
  }

  // Turns the kept values into weights that preserve the channel's sum.
  void AddResidual(Accumulator sum) {
    Accumulator kept = 0;
    for (int64_t i = 0; i < k_; ++i) kept += values_[i];
    const Accumulator share = (sum - kept) / static_cast<Accumulator>(k_);
    for (int64_t i = 0; i < k_; ++i) values_[i] += share;
  }

 private:
  bool Worse(int64_t a, int64_t b) const {
    const Accumulator magnitude_a = Magnitude(values_[a]);
    const Accumulator magnitude_b = Magnitude(values_[b]);
    if (magnitude_a != magnitude_b) return magnitude_a < magnitude_b;
    return positions_[a] > positions_[b];
  }

  void Swap(int64_t a, int64_t b) {
    const Accumulator value = values_[a];
    const int32_t position = positions_[a];
    values_[a] = values_[b];
    positions_[a] = positions_[b];
    values_[b] = value;
    positions_[b] = position;
  }

  void SiftDown(int64_t parent) {
    while (2 * parent + 1 < k_) {
      int64_t child = 2 * parent + 1;
      if (child + 1 < k_ && Worse(child + 1, child)) ++child;
      if (!Worse(child, parent)) return;
      Swap(child, parent);
      parent = child;
    }
  }

  int64_t k_;
  int32_t* positions_;
  Accumulator* values_;
};

// Any k below the number of positions, for one channel of either layout.
template <typename T, typename Accumulator>
void KeepHeap(const T* values, int64_t rows, int64_t row_stride, int64_t k,
              int32_t* positions, Accumulator* weights) {
  KeptHeap<Accumulator> heap(k, positions, weights);
  Accumulator sum = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const Accumulator value = Load(values[row * row_stride]);
    sum += value;
    if (row < k) {
      heap.Put(row, value);
    } else if (Magnitude(value) > heap.threshold()) {
      heap.ReplaceTop(row, value);
    }
  }
  heap.AddResidual(sum);
}

// Every position is kept with its own value: the dense gradient.
template <typename T, typename Accumulator>
void KeepAll(const T* values, int64_t rows, int64_t row_stride,
             int32_t* positions, Accumulator* weights) {
  for (int64_t row = 0; row < rows; ++row) {
    positions[row] = static_cast<int32_t>(row);
    weights[row] = Load(values[row * row_stride]);
  }
}

// k = 1 for one NCHW plane.
template <typename T, typename Accumulator>
void KeepLargestOfPlane(const T* values, int64_t count, int32_t* position,
                        Accumulator* weight) {
  constexpr int kWidth = kBlockVectors * kLanes<Accumulator>;
  const int64_t rows = count / kWidth;
  LaneMaxima<Accumulator, kBlockVectors> maxima;
  ScanRows<kBlockVectors>(values, rows, kWidth, RowReader<T>{kWidth}, &maxima);
  Accumulator sum = 0;
  Accumulator largest = -1;
  int64_t largest_index = 0;
  for (int64_t lane = 0; lane < kWidth; ++lane) {
    sum += maxima.sum[lane];
    const int64_t index = maxima.row[lane] * int64_t{kWidth} + lane;
    if (maxima.largest[lane] > largest ||
        (maxima.largest[lane] == largest && index < largest_index)) {
      largest = maxima.largest[lane];
      largest_index = index;
    }
  }
  for (int64_t index = rows * kWidth; index < count; ++index) {
    const Accumulator value = Load(values[index]);
    sum += value;
    if (Magnitude(value) > largest) {
      largest = Magnitude(value);
      largest_index = index;
    }
  }
  *position = static_cast<int32_t>(largest_index);
  *weight = sum;
}

// 1 < k < Ho * Wo for one NCHW plane: the heap, behind a vector comparison
// that passes over what doesn't reach its threshold.
template <typename T, typename Accumulator>
void KeepSeveralOfPlane(const T* values, int64_t count, int64_t k,
                        int32_t* positions, Accumulator* weights) {
  constexpr int kWidth = kLanes<Accumulator>;
  KeptHeap<Accumulator> heap(k, positions, weights);
  Accumulator sum = 0;
  int64_t index = 0;
  for (; index < k; ++index) {
    const Accumulator value = Load(values[index]);
    sum += value;
    heap.Put(index, value);
  }
  Vector<Accumulator> lane_sums{};
  for (; index + kWidth <= count; index += kWidth) {
    const Vector<Accumulator> value = LoadVector(values + index);
    lane_sums += value;
    const Vector<Accumulator> size = Magnitudes<Accumulator>(value);
    if (!AnyLane(size > Broadcast(heap.threshold()))) continue;
    for (int lane = 0; lane < kWidth; ++lane) {
      if (Magnitude(Accumulator{value[lane]}) > heap.threshold()) {
        heap.ReplaceTop(index + lane, value[lane]);
      }
    }
  }
  for (int lane = 0; lane < kWidth; ++lane) sum += lane_sums[lane];
  for (; index < count; ++index) {
    const Accumulator value = Load(values[index]);
    sum += value;
    if (Magnitude(value) > heap.threshold()) heap.ReplaceTop(index, value);
  }
  heap.AddResidual(sum);
}

// One unit of NHWC: `width` channels that begin at `values`.
template <typename T, typename Accumulator>
void SelectBlock(const ConvGeometry& g, const T* values, int width, int64_t k,
                 int64_t kept_stride, int32_t* positions,
                 Accumulator* weights) {
  constexpr int kWidth = kLanes<Accumulator>;
  if (k == 1 && width == kBlockVectors * kWidth) {
    KeepLargest<kBlockVectors>(values, g, width, kept_stride, positions,
                               weights);
    return;
  }
  for (int channel = 0; channel < width;) {
    const T* first = values + channel;
    int32_t* kept = positions + channel * kept_stride;
    Accumulator* kept_weights = weights + channel * kept_stride;
    const int left = width - channel;
    if (k == g.positions()) {
      KeepAll(first, g.positions(), g.out_depth, kept, kept_weights);
      channel += 1;
    } else if (k > kMaxSorted) {
      KeepHeap(first, g.positions(), g.out_depth, k, kept, kept_weights);
      channel += 1;
    } else if (k > 1) {
      KeepSorted(first, g, left < kWidth ? left : kWidth, static_cast<int>(k),
                 kept_stride, kept, kept_weights);
      channel += kWidth;
    } else if (left >= 2 * kWidth) {
      KeepLargest<2>(first, g, 2 * kWidth, kept_stride, kept, kept_weights);
      channel += 2 * kWidth;
    } else {
      KeepLargest<1>(first, g, left < kWidth ? left : kWidth, kept_stride, kept,
                     kept_weights);
      channel += kWidth;
    }
  }
}

template <typename T>
void SelectLargest(const ConvGeometry& g, const T* out_backprop, int64_t k,
                   int64_t begin, int64_t end, int32_t* positions,
                   typename AccumulatorOf<T>::type* weights) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const int64_t rows = g.positions();
  const int64_t kept_stride = g.batch * k;
  for (int64_t unit = begin; unit < end; ++unit) {
    if (g.layout == Layout::kNCHW) {
      const int64_t example = unit / g.out_depth;
      const int64_t channel = unit % g.out_depth;
      const T* values = out_backprop + unit * rows;
      int32_t* kept = positions + (channel * g.batch + example) * k;
      Accumulator* kept_weights = weights + (channel * g.batch + example) * k;
      if (k == rows) {
        KeepAll(values, rows, 1, kept, kept_weights);
      } else if (k == 1) {
        KeepLargestOfPlane(values, rows, kept, kept_weights);
      } else {
        KeepSeveralOfPlane(values, rows, k, kept, kept_weights);
      }
      continue;
    }
    const int64_t blocks = SelectionBlocks(g.out_depth);
    const int64_t example = unit / blocks;
    const int64_t channel = unit % blocks * kSelectionChannels;
    const int64_t left = g.out_depth - channel;
    const int width =
        static_cast<int>(left < kSelectionChannels ? left : kSelectionChannels);
    const int64_t first = (channel * g.batch + example) * k;
    SelectBlock(g, out_backprop + example * rows * g.out_depth + channel, width,
                k, kept_stride, positions + first, weights + first);
  }
}
