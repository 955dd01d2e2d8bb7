"""Copies of the checkout whose cc/ is a few lines, beside a stand-in for TensorFlow.

All that describes the build is the checkout's own, and so are CMake and compilers.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = "op_libraries/tensorflow_2_21.so"
RECORD = "op_libraries/tensorflow_2_21.json"
COPIED = (
    *("Makefile", "CMakeLists.txt", "CMakePresets.json", "MANIFEST.in"),
    *("pyproject.toml", "setup.py", "README.md"),
)
# A file for each room that the library is made of.
SOURCES = {
    "cc/common/size.h": "int Size();\n",
    "cc/common/size.cc": '#include "cc/common/size.h"\nint Size() { return 2; }\n',
    "cc/cpu/rows/plan.cc": '#include "cc/common/size.h"\nint plan = Size();\n',
    "cc/cuda/rows/sampling.cu": "__global__ void Sample(int* x) { *x = 1; }\n"
    "void Start(int* x) { Sample<<<1, 1>>>(x); }\n",
    "cc/kernels/rows_kernel.cc": "#include <framework.h>\nint kernel = kFramework;\n",
    "cc/kernels/rows_gpu_kernel.cc": "#include <cuda_runtime_api.h>\n"
    "int gpu_kernel = cudaFree(nullptr);\n",
    "cc/ops/rows_ops.cc": "#include <framework.h>\nint op = kFramework;\n",
}
# What `make test PYTHON=... -j2` would otherwise hand on, and what chooses a build.
CHOICES = (
    *("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "PYTHON", "TENSORFLOW"),
    *("CXX", "CUDACXX", "CUDA_HOME", "CUDA_PATH", "TF_APPROXGRAD_CUDA_ARCHS"),
    "TF_APPROXGRAD_PYTHONS",
)

Times = dict[str, int]


def write_checkout(folder: Path) -> Path:
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__", "op_libraries")
    for name in ("cmake", "tf_approxgrad"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name, text in SOURCES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def write_tensorflow(folder: Path, version: str) -> Path:
    """Writes a TensorFlow that has what a build asks for; returns its folder."""
    package = folder / "tensorflow"
    metadata = folder / "tensorflow-0.dist-info"
    framework = package / "include" / "tensorflow" / "core" / "framework"
    for path in (metadata, framework):
        path.mkdir(parents=True, exist_ok=True)
    for name in ("op_kernel.h", "common_shape_fns.h"):
        (framework / name).touch()
    (metadata / "METADATA").write_text(f"Name: tensorflow\nVersion: {version}\n")
    (metadata / "top_level.txt").write_text("tensorflow\n")
    (package / "include" / "framework.h").write_text("const int kFramework = 1;\n")
    # The linker takes text for one of its scripts.
    (package / "libframework.so").write_text("/* exports nothing */\n")
    (package / "__init__.py").write_text(
        "class version:\n"
        f"    VERSION = {version!r}\n"
        "class sysconfig:\n"
        "    get_include = lambda: __path__[0] + '/include'\n"
        "    get_compile_flags = lambda: ['-I' + __path__[0] + '/include', '-DTF=1']\n"
        "    get_link_flags = lambda: ['-L' + __path__[0], '-l:libframework.so']\n"
    )
    return folder


def run(
    *command: str | Path, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in CHOICES}
    # Tests of the GPU's part say so: nvcc takes seconds.
    clean |= {"TF_APPROXGRAD_CUDA": "0"}
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def build(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Builds the library in place, for the TensorFlow that lies beside the checkout."""
    site = {"PYTHONPATH": str(checkout.parent / "site")}
    command = (sys.executable, "setup.py", "build_ext", "--inplace")
    return run(*command, cwd=checkout, **site | environment)


def times(folder: Path, pattern: str) -> Times:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob(pattern)
    }


def compiled(checkout: Path, before: Times) -> set[str]:
    """The sources whose objects are new since `before`, as `objects` says it."""
    after = objects(checkout)
    return {name for name in after if before.get(name) != after[name]}


def objects(checkout: Path) -> Times:
    """When each source was compiled."""
    found = times(checkout / "build/op", "*.o")
    return {
        f"cc/{name.split('/cc/', 1)[1].removesuffix('.o')}": time
        for name, time in found.items()
        if "/cc/" in name
    }
