// The accumulation's driver for one instruction set; included inside its
// namespace.
//
// A unit is a chunk of input channels and a group of kAccumulationGroup output
// channels. A worker takes the groups of a chunk one after the other while the
// chunk's part of X stays in its L2 cache, all of it or as many examples as
// fit.

// One chunk for the output channels of the groups [first_group, last_group).
template <typename T, typename Accumulator>
void AccumulateChunk(const AccumulationTask<T>& task,
                     const PatchClasses& classes, const int32_t* class_counts,
                     int64_t chunk, int64_t first_group, int64_t last_group,
                     Accumulator* tile, Accumulator* all_sums) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t channel_size = g.taps() * plan.chunk;
  for (int64_t first = 0; first < g.batch; first += plan.tile_images) {
    const int64_t last = Smaller(first + plan.tile_images, g.batch);
    if (plan.path == AccumulationPath::kTile) {
      PackTile(task, chunk, first, last, tile);
    }
    for (int64_t group = first_group; group < last_group; ++group) {
      const int64_t channel = group * kAccumulationGroup;
      const int64_t channels =
          Smaller(g.out_depth - channel, kAccumulationGroup);
      // With a single tile the sums are complete at once, and need no place of
      // their own.
      Accumulator* sums =
          plan.tiles == 1
              ? tile + plan.tile_elements
              : all_sums + (chunk * g.out_depth + channel) * channel_size;
      if (first == 0) {
        __builtin_memset(sums, 0,
                         channels * channel_size * sizeof(Accumulator));
      }
      for (int64_t co = 0; co < channels; ++co) {
        Accumulator* channel_sums = sums + co * channel_size;
        if (plan.path == AccumulationPath::kTile) {
          AddTilePatches(task, classes, class_counts, channel + co, first, last,
                         tile, channel_sums);
        } else {
          AddDirectPatches(task, channel + co, chunk, first, last,
                           channel_sums);
        }
      }
      if (last == g.batch) WriteGroup(task, chunk, channel, channels, sums);
    }
  }
}

template <typename T>
void AccumulatePatches(const ConvGeometry& g, const AccumulationPlan& plan,
                       int64_t k, double scale, const T* input,
                       const int32_t* positions, const int32_t* class_counts,
                       const typename AccumulatorOf<T>::type* weights,
                       int64_t begin, int64_t end,
                       typename AccumulatorOf<T>::type* tile,
                       typename AccumulatorOf<T>::type* sums,
                       T* filter_backprop) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const AccumulationTask<T> task{
      g,     plan,      k,       static_cast<Accumulator>(scale),
      input, positions, weights, filter_backprop};
  if (plan.path == AccumulationPath::kGeneral) {
    AccumulateGeneral(task, begin, end, sums);
    return;
  }
  PatchClasses classes;
  if (plan.clipped) classes = ClassifyPatches(g);
  // Units count the groups of the first chunk, then of the second, and so on.
  while (begin < end) {
    const int64_t chunk = begin / plan.groups;
    const int64_t first_group = begin % plan.groups;
    const int64_t last_group =
        Smaller(first_group + (end - begin), plan.groups);
    AccumulateChunk(task, classes, class_counts, chunk, first_group, last_group,
                    tile, sums);
    begin += last_group - first_group;
  }
}
