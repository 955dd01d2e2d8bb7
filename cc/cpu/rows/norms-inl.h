// Square sums, and the input rearranged to [N, H, W, Ci].
//
// The sums are made in eight lanes, of two, four or eight registers: element c
// goes to lane c % 8, and the lanes are added up in one order. In NCHW a
// position's sum runs through the channels in eight lanes likewise.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_NORMS_INL_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_NORMS_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

constexpr int kSumLanes = 8;
typedef double SumVector __attribute__((vector_size(kSumLanes * 8)));
typedef float FloatOctet __attribute__((vector_size(kSumLanes * 4)));
typedef uint16_t WordOctet __attribute__((vector_size(kSumLanes * 2)));
typedef uint32_t LongOctet __attribute__((vector_size(kSumLanes * 4)));

// By pointer: vectors wider than the set's registers have no place of their own
// as results.
inline __attribute__((always_inline)) void LoadOctet(const float* values,
                                                     SumVector* octet) {
  FloatOctet floats;
  __builtin_memcpy(&floats, values, sizeof(floats));
  *octet = __builtin_convertvector(floats, SumVector);
}

inline __attribute__((always_inline)) void LoadOctet(const double* values,
                                                     SumVector* octet) {
  __builtin_memcpy(octet, values, sizeof(*octet));
}

inline __attribute__((always_inline)) void LoadOctet(const Bfloat16* values,
                                                     SumVector* octet) {
  WordOctet words;
  __builtin_memcpy(&words, values, sizeof(words));
  const LongOctet bits = __builtin_convertvector(words, LongOctet) << 16;
  FloatOctet floats;
  __builtin_memcpy(&floats, &bits, sizeof(floats));
  *octet = __builtin_convertvector(floats, SumVector);
}

inline __attribute__((always_inline)) void LoadOctet(const Half* values,
                                                     SumVector* octet) {
  float floats[kSumLanes];
  for (int lane = 0; lane < kSumLanes; ++lane)
    floats[lane] = Load(values[lane]);
  LoadOctet(floats, octet);
}

// A square is rounded before it is added, whether or not the set has fused
// multiply-adds: in double it makes a difference.
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

inline __attribute__((always_inline)) double AddLanes(const SumVector& sums) {
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
         ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

// In bytes. The processor's own prefetcher stops at a page's end.
constexpr int64_t kFetchedAhead = 2048;

// The lanes' sums of squares of a vector of `count` elements.
template <typename T>
inline __attribute__((always_inline)) void SquareLanes(const T* values,
                                                       int64_t count,
                                                       SumVector* sums) {
  *sums = SumVector{};
  SumVector octet;
  int64_t c = 0;
  for (; c + kSumLanes <= count; c += kSumLanes) {
    __builtin_prefetch(values + c + kFetchedAhead / sizeof(T));
    LoadOctet(values + c, &octet);
    *sums += octet * octet;
  }
  if (c < count) {
    T rest[kSumLanes] = {};
    for (int lane = 0; c + lane < count; ++lane) rest[lane] = values[c + lane];
    LoadOctet(rest, &octet);
    *sums += octet * octet;
  }
}

typedef int64_t SumIndices __attribute__((vector_size(kSumLanes * 8)));

// The lanes of `a`, 0 to 7, and of `b`, 8 to 15, that are named.
template <int... kChosen>
inline __attribute__((always_inline)) void ChooseLanes(const SumVector& a,
                                                       const SumVector& b,
                                                       SumVector* chosen) {
#if defined(__clang__)
  *chosen = __builtin_shufflevector(a, b, kChosen...);
#else
  *chosen = __builtin_shuffle(a, b, SumIndices{kChosen...});
#endif
}

// Writes AddLanes of each of eight `lanes`: halves, quarters and eighths of two
// vectors are brought into one and added, so that all lanes are at work.
inline void AddLanesOfOctet(const SumVector* lanes, double* sums) {
  SumVector low, high, halves[4], quarters[2];
  for (int i = 0; i < 4; ++i) {
    ChooseLanes<0, 1, 2, 3, 8, 9, 10, 11>(lanes[i], lanes[i + 4], &low);
    ChooseLanes<4, 5, 6, 7, 12, 13, 14, 15>(lanes[i], lanes[i + 4], &high);
    halves[i] = low + high;
  }
  for (int i = 0; i < 2; ++i) {
    ChooseLanes<0, 1, 8, 9, 4, 5, 12, 13>(halves[i], halves[i + 2], &low);
    ChooseLanes<2, 3, 10, 11, 6, 7, 14, 15>(halves[i], halves[i + 2], &high);
    quarters[i] = low + high;
  }
  ChooseLanes<0, 8, 2, 10, 4, 12, 6, 14>(quarters[0], quarters[1], &low);
  ChooseLanes<1, 9, 3, 11, 5, 13, 7, 15>(quarters[0], quarters[1], &high);
  const SumVector total = low + high;
  __builtin_memcpy(sums, &total, sizeof(total));
}

// The sums of kSumLanes neighbouring positions of an image's planes.
template <typename T>
inline void SquareSumsOfOctet(const T* plane, int64_t positions,
                              int64_t channels, double* sums) {
  SumVector lanes[kSumLanes] = {};
  SumVector octet;
  int64_t c = 0;
  for (; c + kSumLanes <= channels; c += kSumLanes) {
    for (int lane = 0; lane < kSumLanes; ++lane) {
      LoadOctet(plane + (c + lane) * positions, &octet);
      lanes[lane] += octet * octet;
    }
  }
  for (int lane = 0; c + lane < channels; ++lane) {
    LoadOctet(plane + (c + lane) * positions, &octet);
    lanes[lane] += octet * octet;
  }
  const SumVector total = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
                          ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  __builtin_memcpy(sums, &total, sizeof(total));
}

// The sum of one position of an image's planes, in the order of the octets.
template <typename T>
inline double SquareSumOfPlanes(const T* value, int64_t positions,
                                int64_t channels) {
  SumVector sums = {};
  for (int64_t c = 0; c < channels; ++c) {
    const double loaded = Load(value[c * positions]);
    sums[c % kSumLanes] += loaded * loaded;
  }
  return AddLanes(sums);
}

template <typename T>
void SquareSums(Layout layout, const T* values, int64_t positions,
                int64_t channels, int64_t begin, int64_t end, double* sums) {
  if (layout == Layout::kNHWC) {
    SumVector lanes[kSumLanes];
    int64_t row = begin;
    for (; row + kSumLanes <= end; row += kSumLanes) {
#pragma GCC unroll 8
      for (int i = 0; i < kSumLanes; ++i) {
        SquareLanes(values + (row + i) * channels, channels, &lanes[i]);
      }
      AddLanesOfOctet(lanes, sums + row);
    }
    for (; row < end; ++row) {
      SquareLanes(values + row * channels, channels, &lanes[0]);
      sums[row] = AddLanes(lanes[0]);
    }
    return;
  }
  for (int64_t row = begin; row < end;) {
    const int64_t image = row / positions;
    const int64_t image_end = (image + 1) * positions;
    const int64_t last = end < image_end ? end : image_end;
    const T* plane = values + image * positions * channels - image * positions;
    for (; row + kSumLanes <= last; row += kSumLanes) {
      SquareSumsOfOctet(plane + row, positions, channels, sums + row);
    }
    for (; row < last; ++row) {
      sums[row] = SquareSumOfPlanes(plane + row, positions, channels);
    }
  }
}

#if defined(__clang__)
#pragma clang fp contract(on)
#else
#pragma GCC pop_options
#endif

// A square of pixels and channels is transposed in registers, so that whole
// lines are read and written.
template <typename T>
void ArrangePixels(const T* values, int64_t positions, int64_t channels,
                   int64_t begin, int64_t end, T* pixels) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kWidth = kLanes<Accumulator>;
  for (int64_t pixel = begin; pixel < end;) {
    const int64_t image = pixel / positions;
    const int64_t image_end = (image + 1) * positions;
    const int64_t last = end < image_end ? end : image_end;
    const T* planes = values + image * positions * channels - image * positions;
    for (; pixel < last;) {
      const int64_t count = last - pixel < kWidth ? last - pixel : kWidth;
      int64_t c = 0;
      for (; count == kWidth && c + kWidth <= channels; c += kWidth) {
        Vector<Accumulator> square[kWidth];
#pragma GCC unroll 16
        for (int i = 0; i < kWidth; ++i) {
          square[i] = LoadVector(planes + pixel + (c + i) * positions);
        }
        Transpose<Accumulator>(square);
#pragma GCC unroll 16
        for (int i = 0; i < kWidth; ++i) {
          StoreAs<T, Accumulator>(square[i],
                                  pixels + (pixel + i) * channels + c);
        }
      }
      for (; c < channels; ++c) {
        for (int64_t i = 0; i < count; ++i) {
          pixels[(pixel + i) * channels + c] =
              planes[pixel + i + c * positions];
        }
      }
      pixel += count;
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_NORMS_INL_H_
