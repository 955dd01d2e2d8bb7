// The selection of max with larger k.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_MAX_HEAP_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_MAX_HEAP_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// The k kept values of one channel and their positions, as a binary heap with
// the first to be displaced on top: the smallest magnitude, and of several such
// the highest position. It lives where the patches are listed.
template <typename Accumulator>
class LargestHeap {
 public:
  LargestHeap(int64_t k, WeightedPatch<Accumulator>* kept)
      : k_(k), kept_(kept) {}

  Accumulator threshold() const { return Magnitude(kept_[0].weight); }

  // Takes the first k values as they come.
  void Put(int64_t position, Accumulator value) {
    kept_[position] = {static_cast<int32_t>(position), value};
    if (position + 1 == k_) {
      for (int64_t parent = k_ / 2; parent-- > 0;) SiftDown(parent);
    }
  }

  void ReplaceTop(int64_t position, Accumulator value) {
    kept_[0] = {static_cast<int32_t>(position), value};
    SiftDown(0);
  }

  // Turns the kept values into weights that preserve the channel's sum, and the
  // positions into places.
  void Finish(Accumulator sum, const PatchWriter<Accumulator>& writer) {
    Accumulator kept = 0;
    for (int64_t i = 0; i < k_; ++i) kept += kept_[i].weight;
    const Accumulator share = (sum - kept) / static_cast<Accumulator>(k_);
    for (int64_t i = 0; i < k_; ++i) {
      kept_[i] = {writer.PlaceOf(kept_[i].place), kept_[i].weight + share};
    }
  }

 private:
  bool Worse(int64_t a, int64_t b) const {
    const Accumulator magnitude_a = Magnitude(kept_[a].weight);
    const Accumulator magnitude_b = Magnitude(kept_[b].weight);
    if (magnitude_a != magnitude_b) return magnitude_a < magnitude_b;
    return kept_[a].place > kept_[b].place;
  }

  void SiftDown(int64_t parent) {
    while (2 * parent + 1 < k_) {
      int64_t child = 2 * parent + 1;
      if (child + 1 < k_ && Worse(child + 1, child)) ++child;
      if (!Worse(child, parent)) return;
      const WeightedPatch<Accumulator> moved = kept_[child];
      kept_[child] = kept_[parent];
      kept_[parent] = moved;
      parent = child;
    }
  }

  int64_t k_;
  WeightedPatch<Accumulator>* kept_;
};

// Any k below the number of positions, for one channel of either layout.
template <typename T, typename Accumulator>
void KeepHeap(const T* values, int64_t rows, int64_t row_stride, int64_t co,
              int64_t k, const PatchWriter<Accumulator>& writer) {
  LargestHeap<Accumulator> heap(k, writer.OfChannel(co));
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
  heap.Finish(sum, writer);
}

// 1 < k < Ho * Wo for one NCHW plane: the heap, behind a vector comparison
// that passes over what doesn't reach its threshold.
template <typename T, typename Accumulator>
void KeepSeveralOfPlane(const T* values, int64_t count, int64_t co, int64_t k,
                        const PatchWriter<Accumulator>& writer) {
  constexpr int kWidth = kLanes<Accumulator>;
  LargestHeap<Accumulator> heap(k, writer.OfChannel(co));
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
    if (!AnyLane(Greater(size, Broadcast(heap.threshold())))) continue;
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
  heap.Finish(sum, writer);
}

// Every position is kept with its own value: the dense gradient.
template <typename T, typename Accumulator>
void KeepAll(const T* values, int64_t rows, int64_t row_stride, int64_t co,
             const PatchWriter<Accumulator>& writer) {
  WeightedPatch<Accumulator>* patches = writer.OfChannel(co);
  for (int64_t row = 0; row < rows; ++row) {
    patches[row] = {writer.PlaceOf(static_cast<int32_t>(row)),
                    Load(values[row * row_stride])};
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_MAX_HEAP_INL_H_
