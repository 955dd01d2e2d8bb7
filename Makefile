# make            set-up alone: .venv with the dependencies, the compiled op and the
#                 package, importable from .venv/bin/python
# make demo       trains the paper's 2-layer CNN with four methods and compares them
# make test       the tests that are quick; make test-slow runs the others
# make test-instruction-sets
#                 those that compute with the op, on each of the processor's sets
#                 of vector instructions
# make bench      times the filter gradient, dense and approximate, on many shapes;
#                 BENCH_FLAGS=... as examples/benchmark_filter_gradient.py --help says
# make bench-step times whole training steps of the paper's networks
# make sanitize   the kernels' own tests under AddressSanitizer and
#                 UndefinedBehaviorSanitizer, without TensorFlow; the CUDA kernels
#                 run on the processor, each thread a fiber
# make test-aarch64
#                 the kernels' own tests on an emulated ARM processor; needs a cross
#                 compiler and qemu
# make gpu-check  compiles the CUDA kernels for every GPU, needs none, and compares
#                 their registers and spills with cc/kernels/cuda_resources.txt;
#                 make gpu-resources rewrites that file
# make gpu-test   the CUDA kernels' tests on a GPU; needs nvcc alone
# make gpu-bench  times them on a GPU, max and sampled against cuDNN; needs nvcc and
#                 cuDNN 9
# make lint       ruff, mypy and clang-format, all read-only; make format rewrites
#
# PYTHON=python3.x chooses the interpreter of .venv, TENSORFLOW=... the TensorFlow
# that goes into it, CXX=... the compiler. See CONTRIBUTING.md.

PYTHON ?= python3
ifeq ($(shell uname -m),x86_64)
TENSORFLOW ?= tensorflow-cpu>=2.21,<2.22
else
TENSORFLOW ?= tensorflow>=2.21,<2.22
endif
DEMO_EPOCHS ?= 4
export TF_CPP_MIN_LOG_LEVEL ?= 2

VENV := .venv
PY := $(VENV)/bin/python
VENV_STAMP := $(VENV)/.stamp-venv
STAMP := $(VENV)/.stamp-installed
CC_SOURCES := $(wildcard cc/ops/*.cc cc/ops/*.h cc/kernels/*.cc cc/kernels/*.cu cc/kernels/*.h)
CC_FILES := $(wildcard cc/*/*.cc cc/*/*.cu cc/*/*.h)

.PHONY: setup demo test test-slow test-instruction-sets bench bench-step sanitize lint format clean FORCE
.PHONY: test-aarch64 gpu-check gpu-resources gpu-test gpu-bench
setup: $(STAMP)

# An interpreter that is asked for by name replaces a .venv of another version.
SHOW_VERSION := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
FOUND := $(shell $(PY) $(SHOW_VERSION) 2>/dev/null)
ifeq ($(origin PYTHON),file)
WANTED := $(FOUND)
else
WANTED := $(shell $(PYTHON) $(SHOW_VERSION))
endif
ifneq ($(WANTED),$(FOUND))
$(VENV_STAMP): FORCE
endif

$(VENV_STAMP):
	@$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit("tf_approxgrad needs Python 3.10 to 3.13, but $(PYTHON) is %d.%d: name another with PYTHON=python3.x" % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(STAMP): $(VENV_STAMP) pyproject.toml setup.py $(CC_SOURCES)
	$(PY) -m pip install --quiet --disable-pip-version-check '$(TENSORFLOW)'
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev]'
	@echo '$(TENSORFLOW)' > $@

# A library that is gone is built again, and so is one for another TensorFlow.
LIBRARY := tf_approxgrad/_op_library.so tf_approxgrad/_op_library.json
ifneq ($(words $(wildcard $(LIBRARY))),2)
$(STAMP): FORCE
endif
ifneq ($(origin TENSORFLOW),file)
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(TENSORFLOW))
$(STAMP): FORCE
endif
endif

demo: setup
	$(PY) examples/train.py --model=cnn2 --compare=full,zero,random,max --epochs=$(DEMO_EPOCHS) --output=runs/demo

# Files in turn go to as many processes as there are cores.
PYTEST := $(PY) -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile

test: setup
	$(PYTEST) -m 'not slow'

test-slow: setup
	$(PYTEST) -m slow

OP_TESTS := $(sort $(wildcard tests/test_*op.py tests/test_*gradient.py tests/test_convolution*.py tests/test_sampled_*.py))
test-instruction-sets: setup
	for set in baseline avx2 avx512; do \
	  TF_APPROXGRAD_INSTRUCTION_SET=$$set $(PYTEST) -m 'not slow' $(OP_TESTS) || exit 1; \
	done

bench: setup
	$(PY) examples/benchmark_filter_gradient.py $(BENCH_FLAGS)

bench-step: setup
	$(PY) examples/benchmark_step.py $(BENCH_FLAGS)

SANITIZED := build/sanitize
SANITIZE_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all
CC_FLAGS := -std=c++17 -Wall -Wextra -Werror -fno-math-errno -fno-trapping-math -I.
KERNEL_SOURCES := $(filter-out %_kernel.cc,$(wildcard cc/kernels/*.cc))
TEST_SOURCES := $(wildcard cc/tests/*_test.cc)
CUDA_SOURCES := $(wildcard cc/kernels/*.cu)
CUDA_TEST_SOURCES := $(wildcard cc/tests/*_test.cu)
KERNEL_OBJECTS := $(KERNEL_SOURCES:%.cc=$(SANITIZED)/%.o)
CUDA_OBJECTS := $(CUDA_SOURCES:%=$(SANITIZED)/%.o)
SANITIZED_TESTS := $(TEST_SOURCES:%.cc=$(SANITIZED)/%)
SANITIZED_CUDA_TESTS := $(CUDA_TEST_SOURCES:%.cu=$(SANITIZED)/%)
# cc/tests/fiber.h, on which CUDA kernels run, switches stacks on x86-64 alone.
ifneq ($(shell uname -m),x86_64)
SANITIZED_TESTS := $(filter-out %/cuda_on_cpu_test %_mistakes_test,$(SANITIZED_TESTS))
SANITIZED_CUDA_TESTS :=
endif

sanitize: $(SANITIZED_TESTS) $(SANITIZED_CUDA_TESTS)
	@for program in $^; do $$program || exit 1; done

$(SANITIZED)/%_test: $(SANITIZED)/%_test.o $(KERNEL_OBJECTS)
	$(CXX) $(SANITIZE_FLAGS) $^ -o $@

$(SANITIZED)/%_test: $(SANITIZED)/%_test.cu.o $(CUDA_OBJECTS) $(KERNEL_OBJECTS)
	$(CXX) $(SANITIZE_FLAGS) $^ -o $@

$(SANITIZED)/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CC_FLAGS) -O1 -g $(SANITIZE_FLAGS) -MMD -c $< -o $@

# CUDA's #pragma unroll is nothing to g++.
$(SANITIZED)/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(CXX) $(CC_FLAGS) -Wno-unknown-pragmas -O1 -g $(SANITIZE_FLAGS) -DTF_APPROXGRAD_CUDA_ON_CPU -MMD -x c++ -c $< -o $@

.SECONDARY: $(KERNEL_OBJECTS) $(CUDA_OBJECTS) $(TEST_SOURCES:%.cc=$(SANITIZED)/%.o) $(CUDA_TEST_SOURCES:%=$(SANITIZED)/%.o)
-include $(wildcard $(SANITIZED)/cc/*/*.d)

# setup.py has the same flags.
NVCC_FLAGS := -std=c++17 -O3 -fmad=false -Werror=all-warnings -Xcompiler=-Wall,-Wextra,-Werror -I.

# What only a GPU runs must compile as well.
ROW_BENCHMARK := cc/benchmarks/cuda_row_sampling_benchmark
gpu-check:
	$(PYTHON) cc/cuda_resources.py check
	@! cc/find_cuda.sh nvcc > /dev/null 2>&1 || $(MAKE) $(patsubst %,build/gpu-check/%.o,$(CUDA_TEST_SOURCES) $(ROW_BENCHMARK).cu)

build/gpu-check/%.cu.o: %.cu
	@mkdir -p $(@D)
	$$(cc/find_cuda.sh nvcc) $(NVCC_FLAGS) -MMD -c $< -o $@
-include $(wildcard build/gpu-check/cc/*/*.d)

gpu-resources:
	$(PYTHON) cc/cuda_resources.py write

# What needs a GPU is built for the one that is here.
GPU := build/gpu
GPU_OBJECTS := $(KERNEL_SOURCES:%.cc=$(GPU)/%.o) $(CUDA_SOURCES:%=$(GPU)/%.o)
GPU_TESTS := $(CUDA_TEST_SOURCES:%.cu=$(GPU)/%)
GPU_BENCHMARK := $(GPU)/cc/benchmarks/cuda_kept_gradient_benchmark
# compute-sanitizer slows a kernel down a hundredfold: every 400th plan.
SANITIZED_PLANS := 400

gpu-test:
	@cc/find_cuda.sh gpu > /dev/null
	$(MAKE) $(GPU_TESTS)
	@for program in $(GPU_TESTS); do $$program || exit 1; done
	@sanitizer=$$(cc/find_cuda.sh sanitizer) || exit 0; \
	for tool in memcheck racecheck; do for program in $(GPU_TESTS); do \
	  $$sanitizer --tool $$tool --error-exitcode 1 $$program $(SANITIZED_PLANS) || exit 1; \
	done; done

gpu-bench:
	@cc/find_cuda.sh gpu > /dev/null
	@cc/find_cuda.sh cudnn > /dev/null
	$(MAKE) $(GPU_BENCHMARK) $(GPU)/$(ROW_BENCHMARK)
	@$(GPU_BENCHMARK) $(BENCH_FLAGS)
	@$(GPU)/$(ROW_BENCHMARK) $(ROW_BENCH_FLAGS)

$(GPU)/%_test: $(GPU)/%_test.cu.o $(GPU_OBJECTS)
	$$(cc/find_cuda.sh nvcc) $^ -o $@

$(GPU)/%_benchmark: $(GPU)/%_benchmark.cu.o $(GPU_OBJECTS)
	$$(cc/find_cuda.sh nvcc) $^ $$(cc/find_cuda.sh cudnn) -o $@

$(GPU)/%_benchmark.cu.o: %_benchmark.cu
	@mkdir -p $(@D)
	$$(cc/find_cuda.sh nvcc) $(NVCC_FLAGS) -arch=sm_$$(cc/find_cuda.sh gpu) $$(cc/find_cuda.sh cudnn | cut -d ' ' -f 1) -MMD -c $< -o $@

$(GPU)/%.cu.o: %.cu
	@mkdir -p $(@D)
	$$(cc/find_cuda.sh nvcc) $(NVCC_FLAGS) -arch=sm_$$(cc/find_cuda.sh gpu) -MMD -c $< -o $@

$(GPU)/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CC_FLAGS) -O3 -MMD -c $< -o $@

.SECONDARY: $(GPU_OBJECTS) $(GPU_TESTS:%=%.cu.o) $(GPU_BENCHMARK).cu.o $(GPU)/$(ROW_BENCHMARK).cu.o
-include $(wildcard $(GPU)/cc/*/*.d)

# Needs Debian's g++-aarch64-linux-gnu and qemu-user-static.
AARCH64 := build/aarch64
AARCH64_TESTS := $(filter-out %/cuda_on_cpu_test %_mistakes_test,$(TEST_SOURCES:%.cc=$(AARCH64)/%))

test-aarch64: $(AARCH64_TESTS)
	@for program in $^; do qemu-aarch64-static $$program || exit 1; done

$(AARCH64)/%_test: $(AARCH64)/%_test.o $(KERNEL_SOURCES:%.cc=$(AARCH64)/%.o)
	aarch64-linux-gnu-g++ -static $^ -o $@

$(AARCH64)/%.o: %.cc
	@mkdir -p $(@D)
	aarch64-linux-gnu-g++ $(CC_FLAGS) -O2 -MMD -c $< -o $@

.SECONDARY: $(AARCH64_TESTS:%=%.o) $(KERNEL_SOURCES:%.cc=$(AARCH64)/%.o)
-include $(wildcard $(AARCH64)/cc/*/*.d)

lint: setup
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(VENV)/bin/clang-format --dry-run --Werror $(CC_FILES)

format: setup
	$(PY) -m ruff check --fix
	$(PY) -m ruff format
	$(VENV)/bin/clang-format -i $(CC_FILES)

clean:
	rm -rf $(VENV) build tf_approxgrad.egg-info tf_approxgrad/_op_library.*
