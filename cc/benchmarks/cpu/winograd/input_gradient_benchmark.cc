// Times the Winograd input gradient by itself, as filter_gradient_benchmark.cc
// the filter gradient.
//
//   input_gradient_benchmark [threads [repeats [the only shape, from 0]]]

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "cc/benchmarks/convolution_shapes.h"
#include "cc/benchmarks/cpu/winograd/times.h"
#include "cc/benchmarks/measuring.h"
#include "cc/common/geometry.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/winograd/input_gradient.h"

int main(int argc, char** argv) {
  using tf_approxgrad::Values;
  const tf_approxgrad::Request request(argc, argv);
  const double peak = request.PrintHead();
  std::printf("\n%34s %8s %9s %9s\n", "shape", "ms", "the peak", "at it");
  tf_approxgrad::Helpers helpers(request.threads - 1);
  for (const auto& shape : request.shapes) {
    const tf_approxgrad::ConvGeometry g = tf_approxgrad::SameConvolution(shape);
    const tf_approxgrad::WinogradInputGradient gradient(g, request.threads);
    const Values filters =
        tf_approxgrad::RandomValues(g.filter_size() * g.out_depth, 1);
    const Values out_backprop = tf_approxgrad::RandomValues(g.output_size(), 2);
    const Values result = tf_approxgrad::MakeValues(g.input_size());
    const Values scratch =
        tf_approxgrad::MakeValues(gradient.scratch_bytes() / 4);
    const double ms = tf_approxgrad::LeastMilliseconds(
        request, &helpers, [&](const tf_approxgrad::RunWorkers& run) {
          gradient.Compute(filters.get(), out_backprop.get(), scratch.get(),
                           result.get(), run);
        });
    tf_approxgrad::PrintShape(g);
    tf_approxgrad::PrintTimes(request, peak, g, ms);
    std::printf("\n");
  }
  return 0;
}
