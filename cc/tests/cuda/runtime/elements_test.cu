// What the CUDA kernels are made of, one by one: quotients, conversions of
// vectors, and the addition of parts.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cc/common/float_types.h"
#include "cc/common/integer_math.h"
#include "cc/cuda/positions/accumulation_parts_kernels.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"
#include "cc/tests/check.h"
#include "cc/tests/cuda/test_device.h"

namespace tf_approxgrad {
namespace {

LaunchShape OneBlock(int threads) {
  LaunchShape shape;
  shape.grid = dim3(1);
  shape.block = dim3(threads);
  return shape;
}

__global__ void WriteQuotients(const int64_t* numbers, const int64_t* divisors,
                               int64_t* quotients) {
  const int i = threadIdx.x;
  quotients[i] = Quotient(numbers[i], divisors[i]);
}

void TestQuotientsAroundTheEndOf32Bits() {
  const int64_t end = int64_t{1} << 32;
  std::vector<int64_t> numbers, divisors;
  for (const int64_t number :
       {int64_t{0}, int64_t{1}, int64_t{1000}, end / 2, end - 2, end - 1, end,
        end + 1, 3 * end - 1, (end << 29) + 12345}) {
    for (const int64_t by : {int64_t{1}, int64_t{2}, int64_t{3}, int64_t{49},
                             end - 1, end, end + 1, 5 * end}) {
      numbers.push_back(number);
      divisors.push_back(by);
    }
  }
  const int count = static_cast<int>(numbers.size());
  DeviceArray<int64_t> on_device(numbers), by(divisors), quotients(count);
  Must(Launch(OneBlock(count), nullptr, WriteQuotients, on_device.get(),
              by.get(), quotients.get()),
       "WriteQuotients");
  Must(cudaDeviceSynchronize(), "WriteQuotients");
  const auto result = quotients.Read();
  for (int i = 0; i < count; ++i) {
    Check(result[i] == numbers[i] / divisors[i],
          std::to_string(numbers[i]) + " / " + std::to_string(divisors[i]) +
              " is not " + std::to_string(result[i]));
  }
}

template <typename T, int kVector>
__global__ void UnpackAll(const T* from, int vectors,
                          typename AccumulatorOf<T>::type* to) {
  for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
    const auto unpacked =
        Unpack<T, kVector>(ReadPacked<kVector>(from + i * kVector));
    WriteElements(unpacked, to + i * kVector);
  }
}

// Every number of a type of 16 bits, read one by one and in vectors.
template <typename T, int kVector>
void TestUnpackIsTheProcessorsConversion() {
  constexpr int kNumbers = 1 << 16;
  std::vector<T> numbers(kNumbers);
  for (int bits = 0; bits < kNumbers; ++bits) {
    const uint16_t word = static_cast<uint16_t>(bits);
    std::memcpy(&numbers[bits], &word, sizeof(word));
  }
  DeviceArray<T> from(numbers);
  DeviceArray<float> to(kNumbers);
  Must(Launch(OneBlock(256), nullptr, UnpackAll<T, kVector>, from.get(),
              kNumbers / kVector, to.get()),
       "UnpackAll");
  Must(cudaDeviceSynchronize(), "UnpackAll");
  const auto result = to.Read();
  for (int bits = 0; bits < kNumbers; ++bits) {
    const float expected = Load(numbers[bits]);
    const bool both_nan = expected != expected && result[bits] != result[bits];
    Check(both_nan || std::memcmp(&expected, &result[bits], 4) == 0,
          "number " + std::to_string(bits) + " in vectors of " +
              std::to_string(kVector) + " is not " + std::to_string(expected));
  }
}

// Whole numbers: their sums are exact in every order.
template <typename T, int kVector, int kWorkers>
void TestPartsAreAddedUp(int64_t size, int splits) {
  using Accumulator = typename AccumulatorOf<T>::type;
  std::vector<Accumulator> values(size * splits);
  std::vector<T> expected(size);
  for (int64_t i = 0; i < size; ++i) {
    Accumulator sum = 0;
    for (int part = 0; part < splits; ++part) {
      const auto value = static_cast<Accumulator>((7 * i + 3 * part) % 5 - 2);
      values[part * size + i] = value;
      sum += value;
    }
    expected[i] = Store<T>(static_cast<Accumulator>(0.5) * sum);
  }
  DeviceArray<Accumulator> parts(values);
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    StartRepeat(repeat);
    DeviceArray<T> filter_backprop(size);
    constexpr int64_t kOfBlock = kCudaSelectionThreads / kWorkers * kVector;
    LaunchShape shape = OneBlock(kCudaSelectionThreads);
    shape.grid = dim3(static_cast<unsigned>(DivideUp(size, kOfBlock)));
    Must(Launch(shape, nullptr, AddParts<T, kVector, kWorkers>, size, splits,
                0.5, parts.get(), filter_backprop.get()),
         "AddParts");
    Must(cudaDeviceSynchronize(), "AddParts");
    const auto result = filter_backprop.Read();
    Check(std::memcmp(result.data(), expected.data(), size * sizeof(T)) == 0,
          std::to_string(splits) + " parts of " + std::to_string(size) +
              " elements, " + std::to_string(kVector) + " to a thread");
  }
}

template <typename T>
void TestAddParts() {
  constexpr int kVector = sizeof(uint4) / sizeof(T);
  for (const int64_t vectors : {1, 255, 256, 257}) {
    for (const int splits : {2, 3, 4, 5, 8}) {
      TestPartsAreAddedUp<T, kVector, 1>(vectors * kVector, splits);
    }
  }
  // As a whole launch has it: more workers than parts, and parts to spare.
  for (const int64_t size : {1, 31, 32, 33, 1001}) {
    for (const int splits : {2, 7, 8, 9, 64, 65, 256}) {
      TestPartsAreAddedUp<T, 1, 8>(size, splits);
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  TestDevice();
  TestQuotientsAroundTheEndOf32Bits();
  TestUnpackIsTheProcessorsConversion<Bfloat16, 1>();
  TestUnpackIsTheProcessorsConversion<Bfloat16, 8>();
  TestUnpackIsTheProcessorsConversion<Half, 1>();
  TestUnpackIsTheProcessorsConversion<Half, 8>();
  TestAddParts<float>();
  TestAddParts<double>();
  TestAddParts<Bfloat16>();
  TestAddParts<Half>();
  return FailedChecks("cuda/runtime/elements_test");
}
