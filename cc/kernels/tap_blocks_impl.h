// The hot loops of the accumulation, for one instruction set; included inside
// its namespace.
//
// The sums of a block of up to 3x3 taps by one chunk of input channels
// (kVectors vectors) live in registers while weighted patches stream by: per
// patch one broadcast of its weight, and per tap and vector one load of X fused
// into a multiply-add. Nothing else happens in AddPatches: where the patches
// begin was listed before, and all their taps can be read.

// Taps outside the input are read here; as wide as the widest chunk.
alignas(64) static const char kZeros[8 * TF_APPROXGRAD_VECTOR_BYTES] = {};

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

// Weighted patches of one output channel: where each begins in the input.
template <typename Accumulator>
struct Patches {
  int64_t count;
  const int32_t* offsets;
  const Accumulator* weights;
};

// Patches of which some taps lie outside: the rows and columns of taps that lie
// inside, bit by bit.
template <typename Accumulator>
struct BorderPatches : Patches<Accumulator> {
  const uint64_t* rows;
  const uint64_t* cols;
};

// A block of the filter's taps, and the distances that lead through it.
struct TapBlock {
  int64_t first_row, first_col;
  int64_t row_stride, col_stride;  // in the input, in elements
  int64_t sums_row_stride;
};

// Adds patches, all of whose taps lie inside, to the sums of one output
// channel, for a block of taps and one chunk.
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

  void Run(const Accumulator* input, const Patches<Accumulator>& patches,
           const TapBlock& block, Accumulator* sums) const {
    inside(input, patches, block, sums);
  }
  void Run(const Accumulator* input, const BorderPatches<Accumulator>& patches,
           const TapBlock& block, Accumulator* sums) const {
    border(input, patches, block, sums);
  }
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
