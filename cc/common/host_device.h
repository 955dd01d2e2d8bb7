// Marks functions that nvcc compiles for the GPU as well as for the host.

#ifndef TF_APPROXGRAD_CC_COMMON_HOST_DEVICE_H_
#define TF_APPROXGRAD_CC_COMMON_HOST_DEVICE_H_

#ifdef __CUDACC__
#define TF_APPROXGRAD_HOST_DEVICE __host__ __device__
#else
#define TF_APPROXGRAD_HOST_DEVICE
#endif

#endif  // TF_APPROXGRAD_CC_COMMON_HOST_DEVICE_H_
