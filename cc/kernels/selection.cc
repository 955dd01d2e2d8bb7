// How the work is partitioned. NHWC: a unit is one example and a block of
// kLanes channels; the rows of dY are read once, front to back, each row of the
// block contiguous, and the running maxima and sums of the block stay in the L1
// cache. NCHW: a unit is one plane; its positions are dealt out to kLanes
// lanes, so that the same vectorised scan serves, and the lanes are merged at
// the end. For k > 1 the kept values form a heap inside the output itself with
// the least of them on top; an element costs one comparison with that
// threshold unless it enters the heap.

#include "cc/kernels/selection.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tf_approxgrad {
namespace {

constexpr int64_t kLanes = 64;

int64_t BlocksOfLanes(int64_t channels) {
  return (channels + kLanes - 1) / kLanes;
}

// Running sum, largest magnitude and its row, for each of up to kLanes lanes.
template <typename Accumulator>
struct LaneMaxima {
  Accumulator sum[kLanes];
  Accumulator largest[kLanes];
  int32_t row[kLanes];
};

// Scans `rows` rows of `width` lanes. The strict comparison keeps the lowest
// row on ties; a NaN never wins it, but it is in the sum.
template <typename T, typename Accumulator>
void ScanRows(const T* values, int64_t rows, int64_t row_stride, int64_t width,
              LaneMaxima<Accumulator>* maxima) {
  for (int64_t lane = 0; lane < width; ++lane) {
    maxima->sum[lane] = 0;
    maxima->largest[lane] = -1;
    maxima->row[lane] = 0;
  }
  Accumulator* __restrict sum = maxima->sum;
  Accumulator* __restrict largest = maxima->largest;
  int32_t* __restrict largest_row = maxima->row;
  for (int64_t row = 0; row < rows; ++row) {
    const T* __restrict row_values = values + row * row_stride;
    for (int64_t lane = 0; lane < width; ++lane) {
      const Accumulator value = Load(row_values[lane]);
      const Accumulator magnitude = std::abs(value);
      const bool greater = magnitude > largest[lane];
      sum[lane] += value;
      largest[lane] = greater ? magnitude : largest[lane];
      largest_row[lane] =
          greater ? static_cast<int32_t>(row) : largest_row[lane];
    }
  }
}

// The k kept values of one channel and their positions, as a binary heap with
// the first to be displaced on top: the smallest magnitude, and of several such
// the highest position.
template <typename Accumulator>
class KeptHeap {
 public:
  KeptHeap(int64_t k, int32_t* positions, Accumulator* values)
      : k_(k), positions_(positions), values_(values) {}

  Accumulator threshold() const { return std::abs(values_[0]); }

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
    const Accumulator magnitude_a = std::abs(values_[a]);
    const Accumulator magnitude_b = std::abs(values_[b]);
    if (magnitude_a != magnitude_b) return magnitude_a < magnitude_b;
    return positions_[a] > positions_[b];
  }

  void SiftDown(int64_t parent) {
    while (2 * parent + 1 < k_) {
      int64_t child = 2 * parent + 1;
      if (child + 1 < k_ && Worse(child + 1, child)) ++child;
      if (!Worse(child, parent)) return;
      std::swap(values_[child], values_[parent]);
      std::swap(positions_[child], positions_[parent]);
      parent = child;
    }
  }

  int64_t k_;
  int32_t* positions_;
  Accumulator* values_;
};

// Every position is kept with its own value: the dense gradient.
template <typename T, typename Accumulator>
void KeepAll(const T* values, int64_t rows, int64_t row_stride,
             int32_t* positions, Accumulator* weights) {
  for (int64_t row = 0; row < rows; ++row) {
    positions[row] = static_cast<int32_t>(row);
    weights[row] = Load(values[row * row_stride]);
  }
}

// k = 1 for a block of `width` neighbouring channels of an NHWC example.
template <typename T, typename Accumulator>
void KeepLargestOfBlock(const T* values, int64_t rows, int64_t row_stride,
                        int64_t width, int32_t* positions,
                        Accumulator* weights) {
  LaneMaxima<Accumulator> maxima;
  ScanRows(values, rows, row_stride, width, &maxima);
  std::copy_n(maxima.row, width, positions);
  std::copy_n(maxima.sum, width, weights);
}

// 1 < k < Ho * Wo for a block of `width` neighbouring channels.
template <typename T, typename Accumulator>
void KeepSeveralOfBlock(const T* values, int64_t rows, int64_t row_stride,
                        int64_t width, int64_t k, int32_t* positions,
                        Accumulator* weights) {
  // Few enough channels that most groups of a row hold no new member.
  constexpr int64_t kGroup = 16;
  Accumulator sum[kLanes] = {};
  Accumulator threshold[kLanes] = {};
  auto heap = [&](int64_t lane) {
    return KeptHeap<Accumulator>(k, positions + lane * k, weights + lane * k);
  };
  for (int64_t row = 0; row < k; ++row) {
    for (int64_t lane = 0; lane < width; ++lane) {
      const Accumulator value = Load(values[row * row_stride + lane]);
      sum[lane] += value;
      heap(lane).Put(row, value);
      threshold[lane] = heap(lane).threshold();
    }
  }
  for (int64_t row = k; row < rows; ++row) {
    const T* row_values = values + row * row_stride;
    for (int64_t begin = 0; begin < width; begin += kGroup) {
      const int64_t end = std::min(begin + kGroup, width);
      int32_t entering = 0;
      for (int64_t lane = begin; lane < end; ++lane) {
        const Accumulator value = Load(row_values[lane]);
        sum[lane] += value;
        entering |= std::abs(value) > threshold[lane] ? 1 : 0;
      }
      if (entering == 0) continue;
      for (int64_t lane = begin; lane < end; ++lane) {
        const Accumulator value = Load(row_values[lane]);
        if (!(std::abs(value) > threshold[lane])) continue;
        heap(lane).ReplaceTop(row, value);
        threshold[lane] = heap(lane).threshold();
      }
    }
  }
  for (int64_t lane = 0; lane < width; ++lane) {
    heap(lane).AddResidual(sum[lane]);
  }
}

// k = 1 for one NCHW plane.
template <typename T, typename Accumulator>
void KeepLargestOfPlane(const T* values, int64_t count, int32_t* position,
                        Accumulator* weight) {
  const int64_t rows = count / kLanes;
  LaneMaxima<Accumulator> maxima;
  ScanRows(values, rows, kLanes, kLanes, &maxima);
  Accumulator sum = 0;
  Accumulator largest = -1;
  int64_t largest_index = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    sum += maxima.sum[lane];
    const int64_t index = maxima.row[lane] * kLanes + lane;
    if (maxima.largest[lane] > largest ||
        (maxima.largest[lane] == largest && index < largest_index)) {
      largest = maxima.largest[lane];
      largest_index = index;
    }
  }
  for (int64_t index = rows * kLanes; index < count; ++index) {
    const Accumulator value = Load(values[index]);
    sum += value;
    if (std::abs(value) > largest) {
      largest = std::abs(value);
      largest_index = index;
    }
  }
  *position = static_cast<int32_t>(largest_index);
  *weight = sum;
}

// 1 < k < Ho * Wo for one NCHW plane.
template <typename T, typename Accumulator>
void KeepSeveralOfPlane(const T* values, int64_t count, int64_t k,
                        int32_t* positions, Accumulator* weights) {
  KeptHeap<Accumulator> heap(k, positions, weights);
  Accumulator lane_sums[kLanes] = {};
  for (int64_t index = 0; index < k; ++index) {
    const Accumulator value = Load(values[index]);
    lane_sums[index % kLanes] += value;
    heap.Put(index, value);
  }
  for (int64_t begin = k; begin < count; begin += kLanes) {
    const int64_t width = std::min(kLanes, count - begin);
    const Accumulator threshold = heap.threshold();
    int32_t entering = 0;
    for (int64_t lane = 0; lane < width; ++lane) {
      const Accumulator value = Load(values[begin + lane]);
      lane_sums[lane] += value;
      entering |= std::abs(value) > threshold ? 1 : 0;
    }
    if (entering == 0) continue;
    for (int64_t lane = 0; lane < width; ++lane) {
      const Accumulator value = Load(values[begin + lane]);
      if (std::abs(value) > heap.threshold()) {
        heap.ReplaceTop(begin + lane, value);
      }
    }
  }
  Accumulator sum = 0;
  for (Accumulator lane_sum : lane_sums) sum += lane_sum;
  heap.AddResidual(sum);
}

}  // namespace

int64_t SelectionUnits(const ConvGeometry& g) {
  return g.layout == Layout::kNHWC ? g.batch * BlocksOfLanes(g.out_depth)
                                   : g.batch * g.out_depth;
}

template <typename T>
void SelectLargest(const ConvGeometry& g, const T* out_backprop, int64_t begin,
                   int64_t end,
                   KeptPositions<typename AccumulatorOf<T>::type> kept) {
  const int64_t rows = g.positions();
  const int64_t k = kept.k;
  for (int64_t unit = begin; unit < end; ++unit) {
    if (g.layout == Layout::kNCHW) {
      const T* values = out_backprop + unit * rows;
      int32_t* positions = kept.positions + unit * k;
      auto* weights = kept.weights + unit * k;
      if (k == rows) {
        KeepAll(values, rows, 1, positions, weights);
      } else if (k == 1) {
        KeepLargestOfPlane(values, rows, positions, weights);
      } else {
        KeepSeveralOfPlane(values, rows, k, positions, weights);
      }
      continue;
    }
    const int64_t blocks = BlocksOfLanes(g.out_depth);
    const int64_t example = unit / blocks;
    const int64_t channel = unit % blocks * kLanes;
    const int64_t width = std::min(kLanes, g.out_depth - channel);
    const T* values = out_backprop + example * rows * g.out_depth + channel;
    const int64_t first = (example * g.out_depth + channel) * k;
    int32_t* positions = kept.positions + first;
    auto* weights = kept.weights + first;
    if (k == rows) {
      for (int64_t lane = 0; lane < width; ++lane) {
        KeepAll(values + lane, rows, g.out_depth, positions + lane * k,
                weights + lane * k);
      }
    } else if (k == 1) {
      KeepLargestOfBlock(values, rows, g.out_depth, width, positions, weights);
    } else {
      KeepSeveralOfBlock(values, rows, g.out_depth, width, k, positions,
                         weights);
    }
  }
}

template void SelectLargest<float>(const ConvGeometry&, const float*, int64_t,
                                   int64_t, KeptPositions<float>);
template void SelectLargest<double>(const ConvGeometry&, const double*, int64_t,
                                    int64_t, KeptPositions<double>);
template void SelectLargest<Bfloat16>(const ConvGeometry&, const Bfloat16*,
                                      int64_t, int64_t, KeptPositions<float>);
template void SelectLargest<Half>(const ConvGeometry&, const Half*, int64_t,
                                  int64_t, KeptPositions<float>);

}  // namespace tf_approxgrad
