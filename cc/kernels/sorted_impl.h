// Selection with 1 < k <= kMostSorted, for one instruction set; included inside
// its namespace.
//
// Each lane keeps its largest magnitudes and their rows in descending order,
// earlier rows first on ties. A row enters with one comparison for each slot
// and no branch. Rows are looked at by fours: a single branch passes over four
// that enter no lane, as most of a large map do, and on a small one it is taken
// nearly always, so that it is seldom mispredicted. The values themselves are
// read again at the end rather than moved along.

constexpr int kMostSorted = 16;

constexpr int kRowsAtOnce = 4;

// The slots of a vector of lanes.
template <int kSlots, typename Accumulator>
struct SortedLanes {
  Vector<Accumulator> magnitude[kSlots];
  Integers<Accumulator> row[kSlots];

  inline __attribute__((always_inline)) void Clear() {
#pragma GCC unroll 16
    for (int j = 0; j < kSlots; ++j) {
      // An empty slot loses to zero.
      magnitude[j] = Broadcast<Accumulator>(-1);
      row[j] = Integers<Accumulator>{};
    }
  }

  // From the last slot to the first: what is smaller moves back by one, and the
  // newcomer takes the slot behind the last that isn't.
  inline __attribute__((always_inline)) void Enter(
      Vector<Accumulator> size, Integers<Accumulator> number) {
    Mask<Accumulator> enters = Greater(size, magnitude[kSlots - 1]);
#pragma GCC unroll 16
    for (int j = kSlots - 1; j > 0; --j) {
      const Mask<Accumulator> before = Greater(size, magnitude[j - 1]);
      magnitude[j] =
          Select(enters, Select(before, magnitude[j - 1], size), magnitude[j]);
      row[j] = Select(enters, Select(before, row[j - 1], number), row[j]);
      enters = before;
    }
    magnitude[0] = Select(enters, size, magnitude[0]);
    row[0] = Select(enters, number, row[0]);
  }
};

// `rows_of_lanes` gets kSlots vectors of rows, and the result is the sum. A NaN
// never enters, but it is in the sum.
template <int kSlots, bool kPartial, typename T, typename Accumulator>
Vector<Accumulator> SortRows(const T* values, int64_t rows, int64_t row_stride,
                             int count, Integers<Accumulator>* rows_of_lanes) {
  SortedLanes<kSlots, Accumulator> lanes;
  lanes.Clear();
  Vector<Accumulator> sum{};
  Integers<Accumulator> number{};
  int64_t row = 0;
  for (; row + kRowsAtOnce <= rows; row += kRowsAtOnce) {
    Vector<Accumulator> size[kRowsAtOnce];
    Vector<Accumulator> largest = Broadcast<Accumulator>(-1);
#pragma GCC unroll 4
    for (int i = 0; i < kRowsAtOnce; ++i) {
      const T* row_values = values + (row + i) * row_stride;
      __builtin_prefetch(row_values + kRowsAhead * row_stride);
      const Vector<Accumulator> value = ReadRow<kPartial>(row_values, count);
      sum += value;
      size[i] = Magnitudes<Accumulator>(value);
      largest = Select(Greater(size[i], largest), size[i], largest);
    }
    if (AnyLane(Greater(largest, lanes.magnitude[kSlots - 1]))) {
#pragma GCC unroll 4
      for (int i = 0; i < kRowsAtOnce; ++i) lanes.Enter(size[i], number + i);
    }
    number += kRowsAtOnce;
  }
  for (; row < rows; ++row, number += 1) {
    const Vector<Accumulator> value =
        ReadRow<kPartial>(values + row * row_stride, count);
    sum += value;
    lanes.Enter(Magnitudes<Accumulator>(value), number);
  }
#pragma GCC unroll 16
  for (int j = 0; j < kSlots; ++j) rows_of_lanes[j] = lanes.row[j];
  return sum;
}

// Up to one vector of neighbouring NHWC channels, with k <= kSlots.
template <int kSlots, bool kPartial, typename T, typename Accumulator>
void KeepSorted(const T* values, const ConvGeometry& g, int64_t co, int width,
                int64_t k, const PatchWriter<Accumulator>& writer) {
  constexpr int kWidth = kLanes<Accumulator>;
  Integers<Accumulator> rows[kSlots];
  Accumulator sums[kWidth];
  StoreVector(SortRows<kSlots, kPartial, T, Accumulator>(
                  values, g.positions(), g.out_depth, width, rows),
              sums);
  KeptPatch<Accumulator>* patches = writer.OfChannel(co);
  for (int lane = 0; lane < width; ++lane) {
    Accumulator kept = 0;
    for (int64_t j = 0; j < k; ++j) {
      const int32_t row = static_cast<int32_t>(rows[j][lane]);
      const Accumulator value = Load(values[row * g.out_depth + lane]);
      patches[j] = {writer.PlaceOf(row), value};
      kept += value;
    }
    const Accumulator share = (sums[lane] - kept) / static_cast<Accumulator>(k);
    for (int64_t j = 0; j < k; ++j) patches[j].weight += share;
    patches += writer.channel_stride();
  }
}

template <bool kPartial, typename T, typename Accumulator>
void KeepSorted(const T* values, const ConvGeometry& g, int64_t co, int width,
                int64_t k, const PatchWriter<Accumulator>& writer) {
  // The first k of more slots are the k largest.
  if (k <= 2) {
    KeepSorted<2, kPartial>(values, g, co, width, k, writer);
  } else if (k <= 4) {
    KeepSorted<4, kPartial>(values, g, co, width, k, writer);
  } else if (k <= 8) {
    KeepSorted<8, kPartial>(values, g, co, width, k, writer);
  } else {
    KeepSorted<kMostSorted, kPartial>(values, g, co, width, k, writer);
  }
}
