#!/bin/sh
# Prints where a part of CUDA is, or says in one sentence that it isn't here.
#
#   cc/find_cuda.sh nvcc       the compiler
#   cc/find_cuda.sh gpu        the GPU's compute capability, as in 90 (status 2: none)
#   cc/find_cuda.sh sanitizer  compute-sanitizer
#   cc/find_cuda.sh cudnn      flags for cuDNN: first for the compiler, then to link
#
# CUDACXX names nvcc; CUDA_HOME, or CUDA_PATH, the toolkit's folder; CUDNN_HOME
# cuDNN's, with include/ and lib/. Otherwise this looks at PATH, at /usr/local and
# at the `nvidia` folder of pip's packages.

say() {
  echo "$1" >&2
  exit "${2:-1}"
}

# Folders of pip's CUDA packages, one a line.
pip_folders() {
  for python in .venv/bin/python python3 python; do
    "$python" -c 'import nvidia, os; [print(os.path.join(p, d))
for p in nvidia.__path__ for d in sorted(os.listdir(p), reverse=True)]' 2>/dev/null
  done
}

# The first argument that is an existing file.
first_file() {
  for file; do
    if [ -f "$file" ]; then
      echo "$file"
      return
    fi
  done
  return 1
}

find_nvcc() {
  toolkit=${CUDA_HOME:-$CUDA_PATH}
  if [ -n "$CUDACXX" ]; then
    command -v "$CUDACXX" || say "CUDACXX is $CUDACXX, which can't be run."
  elif [ -n "$toolkit" ]; then
    first_file "$toolkit/bin/nvcc" || say "There is no $toolkit/bin/nvcc."
  else
    command -v nvcc || first_file /usr/local/cuda/bin/nvcc \
      $(pip_folders | sed 's|$|/bin/nvcc|') ||
      say "No nvcc was found on PATH, in /usr/local/cuda or among pip's packages: install the CUDA toolkit, or name its folder in CUDA_HOME."
  fi
}

# The folder of nvcc's programs: what is called nvcc may be a script.
toolkit_bin() {
  found=$(find_nvcc) || exit
  "$found" --dryrun -c none.cu 2>&1 | sed -n 's/^#\$ _HERE_=//p'
}

find_gpu() {
  bin=$(toolkit_bin) || exit
  query=$bin/__nvcc_device_query
  # nvcc's own way to find out what -arch=native means; else the driver's tool.
  capability=$("$query" 2>/dev/null | grep -o '^[0-9]*' | head -n 1)
  if [ -z "$capability" ]; then
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader \
      2>/dev/null | grep '^[0-9]' | head -n 1 | tr -d .)
  fi
  [ -n "$capability" ] || say "No GPU is here that CUDA can use: nothing was run." 2
  echo "$capability"
}

find_sanitizer() {
  bin=$(toolkit_bin) || exit
  command -v compute-sanitizer || first_file "$bin/compute-sanitizer" \
    /usr/local/cuda/bin/compute-sanitizer ||
    say "No compute-sanitizer was found."
}

find_cudnn() {
  bin=$(toolkit_bin) || exit
  toolkit=$(dirname "$bin")
  for folder in $CUDNN_HOME "$toolkit" /usr/local/cudnn /usr $(pip_folders); do
    # A folder that the user names is the only one.
    [ -z "$CUDNN_HOME" ] || [ "$folder" = "$CUDNN_HOME" ] || continue
    header=$(first_file "$folder/include/cudnn.h" "$folder"/include/*/cudnn.h) ||
      continue
    library=$(first_file "$folder"/lib64/libcudnn.so.9 "$folder"/lib/libcudnn.so.9 \
      "$folder"/lib/*-linux-gnu/libcudnn.so.9) || continue
    folder=$(dirname "$library")
    echo "-I$(dirname "$header") -L$folder -l:libcudnn.so.9" \
      "-Xlinker -rpath -Xlinker $folder"
    return
  done
  say "No cuDNN 9 (cudnn.h and libcudnn.so.9) was found in ${CUDNN_HOME:-$toolkit, /usr/local/cudnn, /usr or among pip packages}: install it, for example with \`pip install nvidia-cudnn-cu13\` for CUDA 13, or name its folder in CUDNN_HOME."
}

case $1 in
  nvcc | gpu | sanitizer | cudnn) "find_$1" ;;
  *) say "usage: cc/find_cuda.sh nvcc | gpu | sanitizer | cudnn" ;;
esac
