# make              set-up alone: .venv with the dependencies, the compiled op, the package
# make demo         trains the paper's 2-layer CNN with several methods and compares them
# make test         the quick tests; make test-slow the others
# make test-instruction-sets   those of the op and its kernels with each set of
#                   vector instructions
# make wheel        dist/: a wheel for several TensorFlows; make wheel-test tries it in fresh
#                   environments, make wheel-check in two
# make bench        times single gradients; make bench-step whole training steps
# make lint, docs   all read-only; the site. make format rewrites
#
# The kernels' own tests need CMake and ninja, .venv's or others, and no TensorFlow:
# make sanitize     under sanitizers, CUDA's on the CPU; make test-aarch64 on emulated ARM
# make gpu-check    compiles what runs on a GPU alone; make gpu-test, gpu-bench run it there
#
# PYTHON=python3.x chooses the interpreter of .venv, TENSORFLOW=... the TensorFlow that goes
# into it, CXX=... the compiler. See CONTRIBUTING.md.

PYTHON ?= python3
TENSORFLOW ?= tensorflow$(if $(filter x86_64,$(shell uname -m)),-cpu)>=2.21,<2.22
DEMO_EPOCHS ?= 4
export TF_CPP_MIN_LOG_LEVEL ?= 2

PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
CC_FILES := $(shell find cc cmake -name '*.cc' -o -name '*.cu' -o -name '*.h')

.PHONY: setup demo test test-slow test-instruction-sets bench bench-step lint format docs \
  sanitize test-aarch64 gpu-check gpu-test gpu-bench wheel wheel-check wheel-test clean \
  FORCE
setup: .venv/.stamp-installed

# An interpreter that is asked for by name replaces a .venv of another version.
version = $(shell { $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])'; } 2>/dev/null)
ifneq ($(origin PYTHON),file)
ifneq ($(call version,$(PYTHON)),$(call version,$(PY)))
.venv/.stamp-venv: FORCE
endif
endif

.venv/.stamp-venv:
	@$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit("tf_approxgrad needs Python 3.10 to 3.13, but $(PYTHON) is %d.%d: name another with PYTHON=python3.x" % sys.version_info[:2])'
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.stamp-installed: .venv/.stamp-venv pyproject.toml setup.py tf_approxgrad/versions.py CMakeLists.txt $(wildcard cmake/*) $(CC_FILES)
	$(PIP) '$(TENSORFLOW)' $$(grep -oE '(setuptools|cmake|ninja)>=[^"]+' pyproject.toml)
	$(PIP) --no-build-isolation --editable '.[dev]'
	@echo '$(TENSORFLOW)' > $@

# A library that is gone is built again, and so is one for another TensorFlow.
LIBRARY := $(wildcard tf_approxgrad/op_libraries/*.so tf_approxgrad/op_libraries/*.json)
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

# The widest set that the processor has is that of all other tests. The kernels' own tests
# run on every set.
test-instruction-sets: setup
	for set in baseline avx2; do \
	  TF_APPROXGRAD_INSTRUCTION_SET=$$set $(PYTEST) -m 'not slow' tests/ops || exit 1; \
	done

bench: setup
	$(PY) -m benchmarks.kernels.filter_gradient $(BENCH_FLAGS)
	$(PY) -m benchmarks.kernels.exact_gradients $(EXACT_BENCH_FLAGS)
bench-step: setup
	$(PY) -m benchmarks.steps.step $(BENCH_FLAGS)
	$(PY) -m benchmarks.steps.exact_step $(EXACT_BENCH_FLAGS)

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
CTEST := PATH="$(CURDIR)/.venv/bin:$$PATH" ctest
export CTEST_PARALLEL_LEVEL ?= $(shell nproc)

sanitize test-aarch64 gpu-check gpu-test:
	$(CMAKE) --workflow --preset $@

GPU_BENCHMARKS := cuda.positions.filter_gradient_benchmark cuda.rows.sampling_benchmark
gpu-bench:
	$(CMAKE) --preset gpu
	$(CMAKE) --build --preset gpu --target $(GPU_BENCHMARKS)
	build/gpu/$(word 1,$(GPU_BENCHMARKS)) $(BENCH_FLAGS)
	build/gpu/$(word 2,$(GPU_BENCHMARKS)) $(ROW_BENCH_FLAGS)

# Where pyenv has the Pythons, each by its name.
NOX = PYENV_VERSION="$$(pyenv versions --bare 2>/dev/null | grep ^3 | sort -rV | paste -sd:)" $(PY) -m nox
wheel: setup
	$(NOX) -s wheel
wheel-test: wheel
	$(NOX) -s wheel_test source_test
# For the oldest and the newest TensorFlow.
wheel-check: setup
	$(NOX) -s wheel -- 2.18 2.21
	$(NOX) -t quick

clean:
	rm -rf .venv .nox build dist site *.egg-info tf_approxgrad/op_libraries
