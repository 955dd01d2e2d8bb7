# The library of ops for each of TENSORFLOW_VERSIONS, of which setup.py says
#
#   TENSORFLOW_<version>_INCLUDE  the folder of its headers
#   TENSORFLOW_<version>_FLAGS    its other compile flags
#   TENSORFLOW_<version>_LIBRARY  the library that it offers to ops
#
# All are made of the same kernels, which are compiled once.

file(GLOB op_sources CONFIGURE_DEPENDS cc/ops/*.cc cc/kernels/*.cc)
file(GLOB gpu_sources CONFIGURE_DEPENDS cc/kernels/*_gpu_kernel.cc)
if(CUDA)
  # For these alone, so that the others are the same objects with CUDA and without.
  set(options ${CUDAToolkit_INCLUDE_DIRS})
  list(REMOVE_ITEM options ${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES})
  list(TRANSFORM options PREPEND -isystem)
  set_source_files_properties(${gpu_sources} PROPERTIES COMPILE_OPTIONS "${options}")
else()
  list(REMOVE_ITEM op_sources ${gpu_sources})
endif()

set(OP_LIBRARIES ${CMAKE_BINARY_DIR}/op_libraries)
if(TF_APPROXGRAD_WHEEL)
  include(cmake/older_runtimes.cmake)
endif()
foreach(version IN LISTS TENSORFLOW_VERSIONS)
  string(REGEX REPLACE "^([0-9]+)[.]([0-9]+).*" "tensorflow_\\1_\\2" name ${version})
  add_library(${name} MODULE ${op_sources})
  set_target_properties(
    ${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${OP_LIBRARIES}
                       SKIP_BUILD_RPATH ON)
  target_include_directories(${name} SYSTEM PRIVATE ${TENSORFLOW_${version}_INCLUDE})
  target_compile_options(${name} PRIVATE ${TENSORFLOW_${version}_FLAGS})
  # Most of a source's time is that of reading these.
  target_precompile_headers(
    ${name} PRIVATE <tensorflow/core/framework/op_kernel.h>
                    <tensorflow/core/framework/common_shape_fns.h>)
  # Headers of another patch release may be older than the objects.
  target_compile_definitions(${name} PRIVATE TENSORFLOW_VERSION="${version}")
  # CUDA's runtime goes before TensorFlow, whose CUDA build exports stubs of the same
  # names, and serves our own calls alone.
  target_link_libraries(
    ${name} PRIVATE kernels $<TARGET_NAME_IF_EXISTS:older_runtimes>
                    $<LINK_ONLY:$<TARGET_NAME_IF_EXISTS:CUDA::cudart_static>>
                    ${TENSORFLOW_${version}_LIBRARY})
  target_link_options(${name} PRIVATE -Wl,--exclude-libs,libcudart_static.a)
endforeach()

# For setup.py.
list(JOIN CUDA_ARCHS " " archs)
file(WRITE ${CMAKE_BINARY_DIR}/cuda_archs "${archs}")
