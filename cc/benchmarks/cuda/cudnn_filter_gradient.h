// cuDNN's filter gradient, by the fastest of its algorithms.

#ifndef TF_APPROXGRAD_CC_BENCHMARKS_CUDA_CUDNN_FILTER_GRADIENT_H_
#define TF_APPROXGRAD_CC_BENCHMARKS_CUDA_CUDNN_FILTER_GRADIENT_H_

#include <cudnn.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "cc/common/geometry.h"
#include "cc/tests/cuda/device_array.h"

namespace tf_approxgrad {

enum class CudnnArithmetic {
  // No tensor cores: TensorFlow with
  // tf.config.experimental.enable_tensor_float_32_execution(False).
  kFloat32,
  // float32 tensors as TensorFlow multiplies them by default.
  kTensorFloat32,
  kBfloat16,
};

inline void MustCudnn(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::fprintf(stderr, "%s: %s\n", what, cudnnGetErrorString(status));
  std::exit(1);
}

// One convolution. cuDNN pads alike before and behind: where SAME wants one
// zero more behind, this has it before as well, which costs the same.
class CudnnFilterGradient {
 public:
  // Times cuDNN's algorithms on these tensors and keeps the fastest that the
  // arithmetic allows; float32 allows no tensor cores. `workspace` stays the
  // caller's.
  CudnnFilterGradient(cudnnHandle_t handle, const ConvGeometry& g,
                      CudnnArithmetic arithmetic, const void* input,
                      const void* out_backprop, void* filter_backprop,
                      const DeviceArray<char>& workspace)
      : handle_(handle), workspace_(workspace) {
    const bool is_float = arithmetic == CudnnArithmetic::kFloat32 ||
                          arithmetic == CudnnArithmetic::kTensorFloat32;
    const auto type = is_float ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
    const auto format =
        g.layout == Layout::kNHWC ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
    const auto size = [](int64_t value) { return static_cast<int>(value); };
    MustCudnn(cudnnCreateTensorDescriptor(&input_), "cuDNN's descriptors");
    MustCudnn(cudnnCreateTensorDescriptor(&output_), "cuDNN's descriptors");
    MustCudnn(cudnnCreateFilterDescriptor(&filter_), "cuDNN's descriptors");
    MustCudnn(cudnnCreateConvolutionDescriptor(&convolution_),
              "cuDNN's descriptors");
    MustCudnn(cudnnSetTensor4dDescriptor(input_, format, type, size(g.batch),
                                         size(g.in_depth), size(g.in_rows),
                                         size(g.in_cols)),
              "cuDNN's input");
    MustCudnn(cudnnSetTensor4dDescriptor(output_, format, type, size(g.batch),
                                         size(g.out_depth), size(g.out_rows),
                                         size(g.out_cols)),
              "cuDNN's output");
    MustCudnn(cudnnSetFilter4dDescriptor(
                  filter_, type, format, size(g.out_depth), size(g.in_depth),
                  size(g.filter_rows), size(g.filter_cols)),
              "cuDNN's filter");
    MustCudnn(
        cudnnSetConvolution2dDescriptor(
            convolution_,
            Padding(g.in_rows, g.out_rows, g.filter_rows, g.stride_rows),
            Padding(g.in_cols, g.out_cols, g.filter_cols, g.stride_cols),
            size(g.stride_rows), size(g.stride_cols), size(g.dilation_rows),
            size(g.dilation_cols), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "cuDNN's convolution");
    const bool strict = arithmetic == CudnnArithmetic::kFloat32;
    // CUDNN_DEFAULT_MATH is TF32 for float tensors, as in TensorFlow.
    MustCudnn(cudnnSetConvolutionMathType(convolution_,
                                          strict     ? CUDNN_FMA_MATH
                                          : is_float ? CUDNN_DEFAULT_MATH
                                                     : CUDNN_TENSOR_OP_MATH),
              "cuDNN's arithmetic");
    Choose(strict, input, out_backprop, filter_backprop);
  }
  CudnnFilterGradient(const CudnnFilterGradient&) = delete;
  CudnnFilterGradient& operator=(const CudnnFilterGradient&) = delete;
  ~CudnnFilterGradient() {
    cudnnDestroyConvolutionDescriptor(convolution_);
    cudnnDestroyFilterDescriptor(filter_);
    cudnnDestroyTensorDescriptor(output_);
    cudnnDestroyTensorDescriptor(input_);
  }

  // False if cuDNN has no algorithm for this convolution.
  bool is_supported() const { return is_supported_; }
  int algorithm() const { return static_cast<int>(algorithm_); }

  void Run(const void* input, const void* out_backprop,
           void* filter_backprop) const {
    const float one = 1, zero = 0;
    MustCudnn(cudnnConvolutionBackwardFilter(
                  handle_, &one, input_, input, output_, out_backprop,
                  convolution_, algorithm_, workspace_.get(),
                  workspace_.count(), &zero, filter_, filter_backprop),
              "cudnnConvolutionBackwardFilter");
  }

 private:
  static int Padding(int64_t in, int64_t out, int64_t filter, int64_t stride) {
    const int64_t both = (out - 1) * stride + filter - in;
    return static_cast<int>(both > 0 ? (both + 1) / 2 : 0);
  }

  void Choose(bool strict, const void* input, const void* out_backprop,
              void* filter_backprop) {
    cudnnConvolutionBwdFilterAlgoPerf_t found[16];
    int count = 0;
    // Sorted by time. An algorithm may be there with and without tensor cores.
    const cudnnStatus_t status = cudnnFindConvolutionBackwardFilterAlgorithmEx(
        handle_, input_, input, output_, out_backprop, convolution_, filter_,
        filter_backprop, 16, &count, found, workspace_.get(),
        workspace_.count());
    for (int i = 0; status == CUDNN_STATUS_SUCCESS && i < count; ++i) {
      if (found[i].status != CUDNN_STATUS_SUCCESS) continue;
      if (strict && found[i].mathType != CUDNN_FMA_MATH) continue;
      if (found[i].memory > static_cast<size_t>(workspace_.count())) continue;
      is_supported_ = true;
      algorithm_ = found[i].algo;
      MustCudnn(cudnnSetConvolutionMathType(convolution_, found[i].mathType),
                "cuDNN's arithmetic");
      return;
    }
  }

  cudnnHandle_t handle_;
  const DeviceArray<char>& workspace_;
  cudnnTensorDescriptor_t input_, output_;
  cudnnFilterDescriptor_t filter_;
  cudnnConvolutionDescriptor_t convolution_;
  cudnnConvolutionBwdFilterAlgo_t algorithm_ =
      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0;
  bool is_supported_ = false;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_BENCHMARKS_CUDA_CUDNN_FILTER_GRADIENT_H_
