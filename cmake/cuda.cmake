# Sets CUDA to ON where it is found, and CUDA_ARCHS to what nvcc compiles for.
#
#   TF_APPROXGRAD_CUDA        0 the CPU alone, 1 with the GPU's kernels, empty with them if
#                             nvcc is found
#   TF_APPROXGRAD_CUDA_ARCHS  GPUs as in "80 90", or native for the one that is here
#
# Variables of the environment, or else of CMake. CUDACXX names nvcc, CUDA_HOME or CUDA_PATH
# the toolkit's folder, CUDNN_HOME cuDNN's.

set(TF_APPROXGRAD_CUDA "" CACHE STRING "0, 1, or empty: if nvcc is found")
set(TF_APPROXGRAD_CUDA_ARCHS "" CACHE STRING "GPUs to compile for")

# Of a build in the checkout, which is compiled again and again: 86 and 89 run the code of
# 80, and newer GPUs translate that of 90 when they first load it.
set(default_archs 75 80 90)
if(TF_APPROXGRAD_WHEEL)
  set(default_archs 75 80 86 89 90 100 120)
endif()

function(read_wish name result)
  if(NOT "$ENV{${name}}" STREQUAL "")
    set(${result} "$ENV{${name}}" PARENT_SCOPE)
  else()
    set(${result} "${${name}}" PARENT_SCOPE)
  endif()
endfunction()

read_wish(TF_APPROXGRAD_CUDA wish)
if(NOT wish MATCHES "^[01]?$")
  message(FATAL_ERROR
    "tf_approxgrad: TF_APPROXGRAD_CUDA is '${wish}', but it must be 0 (CPU alone), 1 (with "
    "the GPU's kernels), or unset (with them if nvcc is found)")
endif()
set(CUDA OFF)
if(wish STREQUAL 0)
  return()
endif()

# pip's packages, where setup.py says or in the Makefile's environment.
file(GLOB pip_folders ${SITE_PACKAGES}/nvidia/* .venv/lib/python3*/site-packages/nvidia/*)
if(NOT "$ENV{CUDACXX}" STREQUAL "")
  set(where $ENV{CUDACXX})
  find_program(nvcc ${where} NO_CACHE)
elseif(NOT "$ENV{CUDA_HOME}$ENV{CUDA_PATH}" STREQUAL "")
  set(where $ENV{CUDA_HOME} $ENV{CUDA_PATH})
  find_program(nvcc nvcc PATHS ${where} PATH_SUFFIXES bin NO_CACHE NO_DEFAULT_PATH)
else()
  set(where PATH /usr/local/cuda ${pip_folders})
  find_program(nvcc nvcc PATHS ${where} PATH_SUFFIXES bin NO_CACHE)
endif()
if(NOT nvcc)
  if(wish OR NOT "$ENV{CUDACXX}" STREQUAL "")
    list(JOIN where ", " where)
    message(FATAL_ERROR
      "tf_approxgrad: no nvcc was found (looked at ${where}); install the CUDA toolkit, or "
      "name nvcc in CUDACXX or the toolkit's folder in CUDA_HOME")
  endif()
  message(STATUS "tf_approxgrad: no nvcc was found, so the CUDA kernels are left out")
  return()
endif()

execute_process(COMMAND ${nvcc} --list-gpu-arch OUTPUT_VARIABLE known
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[0-9]+" known "${known}")
read_wish(TF_APPROXGRAD_CUDA_ARCHS wish)
string(REGEX MATCHALL "[^ ,;]+" wish "${wish}")
foreach(arch IN LISTS wish)
  if(NOT arch IN_LIST known AND NOT arch STREQUAL native)
    list(JOIN known ", " known)
    message(FATAL_ERROR
      "tf_approxgrad: TF_APPROXGRAD_CUDA_ARCHS names '${arch}', but ${nvcc} knows ${known}")
  endif()
endforeach()
set(CUDA_ARCHS ${wish})
if(NOT wish)
  set(CUDA_ARCHS ${default_archs})
  list(JOIN known | known)
  list(FILTER CUDA_ARCHS INCLUDE REGEX "^(${known})$")
endif()

if(CUDA_ARCHS STREQUAL native)
  set(CMAKE_CUDA_ARCHITECTURES native)
else()
  # Machine code for each, and PTX of the newest.
  list(SORT CUDA_ARCHS COMPARE NATURAL)
  list(TRANSFORM CUDA_ARCHS APPEND -real OUTPUT_VARIABLE CMAKE_CUDA_ARCHITECTURES)
  list(GET CUDA_ARCHS -1 newest)
  list(APPEND CMAKE_CUDA_ARCHITECTURES ${newest}-virtual)
endif()
set(CMAKE_CUDA_COMPILER ${nvcc})
# Linked by name, in its place.
set(CMAKE_CUDA_RUNTIME_LIBRARY None)
enable_language(CUDA)
if(CUDA_ARCHS STREQUAL native AND NOT CMAKE_CUDA_ARCHITECTURES_NATIVE MATCHES "^[0-9]")
  message(FATAL_ERROR "tf_approxgrad: no GPU is here that CUDA can use")
endif()
find_package(CUDAToolkit REQUIRED)
set(CUDA ON)

# Has ptxas say which kernels spill registers; on sm_75 and sm_90 the tile of float16 does.
function(warn_of_spills)
  if(CUDA_ARCHS MATCHES "75|90")
    list(FILTER ARGN EXCLUDE REGEX "/positions/accumulation\\.cu$")
  endif()
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS -Xptxas=-warn-spills)
endfunction()

# Links a program with cuDNN 9; without one, building it says so.
function(link_cudnn program)
  set(folders $ENV{CUDNN_HOME})
  if(NOT folders)
    set(folders ${CUDAToolkit_TARGET_DIR} /usr/local/cudnn /usr ${pip_folders})
  endif()
  find_path(cudnn_include cudnn.h PATHS ${folders} PATH_SUFFIXES include
            NO_CACHE NO_DEFAULT_PATH)
  find_library(cudnn_library libcudnn.so.9 PATHS ${folders}
               PATH_SUFFIXES lib lib64 lib/${CMAKE_LIBRARY_ARCHITECTURE}
               NO_CACHE NO_DEFAULT_PATH)
  if(cudnn_include AND cudnn_library)
    target_include_directories(${program} SYSTEM PRIVATE ${cudnn_include})
    target_link_libraries(${program} PRIVATE ${cudnn_library})
  else()
    set_target_properties(${program} PROPERTIES EXCLUDE_FROM_ALL ON)
    list(JOIN folders ", " folders)
    add_custom_target(
      cudnn COMMAND ${CMAKE_COMMAND} -E echo
                    "No cuDNN 9 (cudnn.h and libcudnn.so.9) was found in ${folders}: "
                    "install it, for example with `pip install nvidia-cudnn-cu13` for "
                    "CUDA 13, or name its folder in CUDNN_HOME."
      COMMAND ${CMAKE_COMMAND} -E false VERBATIM)
    add_dependencies(${program} cudnn)
  endif()
endfunction()
