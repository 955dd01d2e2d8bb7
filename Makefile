# make            set-up alone: .venv with the dependencies, the compiled op and the package,
#                 importable from .venv/bin/python
# make demo       trains the paper's 2-layer CNN with several methods and compares them
# make test       the quick tests; make test-slow the others
# make test-instruction-sets
#                 those of the op, on each of the processor's sets of vector instructions
# make bench      times filter gradients, exact and approximate; make bench-step whole steps
# make lint       ruff, mypy and clang-format, all read-only; make format rewrites
# make docs       the site, strictly, in site/
#
# The kernels' own tests need no TensorFlow, but CMake and ninja, of .venv or of the system:
# make sanitize      under sanitizers, the CUDA kernels on the CPU, each thread a fiber
# make test-aarch64  on an emulated ARM processor
# make gpu-check     compiles all that runs on a GPU alone, and needs none
# make gpu-test      on a GPU
# make gpu-bench     times the CUDA kernels beside cuDNN 9's
#
# PYTHON=python3.x chooses the interpreter of .venv, TENSORFLOW=... the TensorFlow that goes
# into it, CXX=... the compiler. See CONTRIBUTING.md.

PYTHON ?= python3
TENSORFLOW ?= tensorflow$(if $(filter x86_64,$(shell uname -m)),-cpu)>=2.21,<2.22
DEMO_EPOCHS ?= 4
export TF_CPP_MIN_LOG_LEVEL ?= 2

PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
CC_FILES := $(shell find cc -name '*.cc' -o -name '*.cu' -o -name '*.h')

.PHONY: setup demo test test-slow test-instruction-sets bench bench-step lint format docs
.PHONY: sanitize test-aarch64 gpu-check gpu-test gpu-bench clean FORCE
setup: .venv/.stamp-installed

# An interpreter that is asked for by name replaces a .venv of another version.
version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>&1)
ifneq ($(origin PYTHON),file)
ifneq ($(call version,$(PYTHON)),$(call version,$(PY)))
.venv/.stamp-venv: FORCE
endif
endif

.venv/.stamp-venv:
	@$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit("tf_approxgrad needs Python 3.10 to 3.13, but $(PYTHON) is %d.%d: name another with PYTHON=python3.x" % sys.version_info[:2])'
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.stamp-installed: .venv/.stamp-venv pyproject.toml setup.py CMakeLists.txt $(wildcard cmake/*) $(CC_FILES)
	$(PIP) '$(TENSORFLOW)' $$(grep -oE '(setuptools|cmake|ninja)>=[^"]+' pyproject.toml)
	$(PIP) --no-build-isolation --editable '.[dev]'
	@echo '$(TENSORFLOW)' > $@

# A library that is gone is built again, and so is one for another TensorFlow.
LIBRARY := $(wildcard tf_approxgrad/_op_library.so tf_approxgrad/_op_library.json)
FOUND := $(shell cat .venv/.stamp-installed 2>/dev/null)
ifneq ($(words $(LIBRARY)) $(if $(filter file,$(origin TENSORFLOW)),$(FOUND),$(TENSORFLOW)),2 $(FOUND))
.venv/.stamp-installed: FORCE
endif

demo: setup
	$(PY) -m benchmarks.training.compare --model=cnn2 --settings=full,zero,max,row-sampled:share=0.5:probability=product:keep_largest=True --epochs=$(DEMO_EPOCHS) --output=runs/demo

# Files in turn go to as many processes as there are cores.
PYTEST := $(PY) -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile

test: setup
	$(PYTEST) -m 'not slow'

test-slow: setup
	$(PYTEST) -m slow

OP_TESTS := $(wildcard tests/test_*op.py tests/test_*gradient.py tests/test_convolution*.py tests/test_sampled_*.py)
test-instruction-sets: setup
	for set in baseline avx2 avx512; do \
	  TF_APPROXGRAD_INSTRUCTION_SET=$$set $(PYTEST) -m 'not slow' $(OP_TESTS) || exit 1; \
	done

bench: setup
	$(PY) -m benchmarks.kernels.filter_gradient $(BENCH_FLAGS)

bench-step: setup
	$(PY) -m benchmarks.steps.step $(BENCH_FLAGS)

lint: setup
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	.venv/bin/clang-format --dry-run --Werror $(CC_FILES)

format: setup
	$(PY) -m ruff check --fix
	$(PY) -m ruff format
	.venv/bin/clang-format -i $(CC_FILES)

docs: setup
	$(PY) -m mkdocs build --strict

CMAKE := PATH="$(CURDIR)/.venv/bin:$$PATH" cmake
export CTEST_PARALLEL_LEVEL ?= $(shell nproc)

sanitize gpu-check:
	$(CMAKE) --workflow --preset $@

test-aarch64:
	$(CMAKE) --workflow --preset aarch64

gpu-test:
	$(CMAKE) --workflow --preset gpu

GPU_BENCHMARKS := cuda.positions.filter_gradient_benchmark cuda.rows.sampling_benchmark
gpu-bench:
	$(CMAKE) --preset gpu
	$(CMAKE) --build --preset gpu --target $(GPU_BENCHMARKS)
	build/gpu/$(word 1,$(GPU_BENCHMARKS)) $(BENCH_FLAGS)
	build/gpu/$(word 2,$(GPU_BENCHMARKS)) $(ROW_BENCH_FLAGS)

clean:
	rm -rf .venv build site *.egg-info tf_approxgrad/_op_library.*
