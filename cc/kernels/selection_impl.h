// Selection for one instruction set; included inside its namespace.
//
// How the work is partitioned. NHWC: a unit is one example and up to
// kSelectionChannels channels; the rows of dY are read once, front to back,
// each row of the block contiguous, with the running sums, maxima and positions
// in registers. NCHW: a unit is one plane. Units that follow each other read
// neighbouring memory.

// One unit of NHWC: `width` channels from `co` on, which begin at `values`.
template <typename T, typename Accumulator>
void SelectBlock(const ConvGeometry& g, const T* values, int64_t co, int width,
                 int64_t k, const PatchWriter<Accumulator>& writer) {
  constexpr int kWidth = kLanes<Accumulator>;
  for (int done = 0; done < width;) {
    const int left = width - done;
    if (k == g.positions()) {
      KeepAll(values + done, g.positions(), g.out_depth, co + done, writer);
      done += 1;
    } else if (k > kMostSorted) {
      KeepHeap(values + done, g.positions(), g.out_depth, co + done, k, writer);
      done += 1;
    } else if (k > 1 && left >= kBlockVectors * kWidth) {
      KeepSorted<kBlockVectors, false>(values + done, g, co + done,
                                       kBlockVectors * kWidth, k, writer);
      done += kBlockVectors * kWidth;
    } else if (k > 1 && left >= kWidth) {
      KeepSorted<1, false>(values + done, g, co + done, kWidth, k, writer);
      done += kWidth;
    } else if (k > 1) {
      KeepSorted<1, true>(values + done, g, co + done, left, k, writer);
      done += left;
    } else if (left >= kBlockVectors * kWidth) {
      KeepLargest<kBlockVectors, false>(values + done, g, co + done,
                                        kBlockVectors * kWidth, writer);
      done += kBlockVectors * kWidth;
    } else if (left >= 2 * kWidth) {
      KeepLargest<2, false>(values + done, g, co + done, 2 * kWidth, writer);
      done += 2 * kWidth;
    } else if (left >= kWidth) {
      KeepLargest<1, false>(values + done, g, co + done, kWidth, writer);
      done += kWidth;
    } else {
      KeepLargest<1, true>(values + done, g, co + done, left, writer);
      done += left;
    }
  }
}

template <typename T, typename Accumulator>
void SelectPlane(const ConvGeometry& g, const T* values, int64_t co, int64_t k,
                 const PatchWriter<Accumulator>& writer) {
  if (k == g.positions()) {
    KeepAll(values, g.positions(), 1, co, writer);
  } else if (k == 1) {
    KeepLargestOfPlane(values, g.positions(), co, writer);
  } else {
    KeepSeveralOfPlane(values, g.positions(), co, k, writer);
  }
}

template <typename T>
void SelectLargest(const ConvGeometry& g, const AccumulationPlan& plan,
                   int64_t k, const T* out_backprop, int64_t begin, int64_t end,
                   KeptPatch<typename AccumulatorOf<T>::type>* patches) {
  const int64_t image_size = g.positions() * g.out_depth;
  const int64_t image_units =
      g.layout == Layout::kNHWC ? SelectionBlocks(g.out_depth) : g.out_depth;
  while (begin < end) {
    const int64_t example = begin / image_units;
    const T* image = out_backprop + example * image_size;
    const PatchWriter<typename AccumulatorOf<T>::type> writer(g, plan, k,
                                                              example, patches);
    const int64_t first = begin % image_units;
    const int64_t last = Smaller(first + (end - begin), image_units);
    for (int64_t unit = first; unit < last; ++unit) {
      if (g.layout == Layout::kNCHW) {
        SelectPlane(g, image + unit * g.positions(), unit, k, writer);
      } else {
        const int64_t co = unit * kSelectionChannels;
        SelectBlock(
            g, image + co, co,
            static_cast<int>(Smaller(g.out_depth - co, kSelectionChannels)), k,
            writer);
      }
    }
    begin += last - first;
  }
}
