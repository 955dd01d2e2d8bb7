"""Builds the op's library against the TensorFlow that is installed."""

from __future__ import annotations

import glob
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
OLDEST_TENSORFLOW = (2, 18)
COMPILE_FLAGS = [
    *["-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math"],
    *["-Wall", "-Wextra"],
]
# -fmad=false: random numbers are the CPU's, bit for bit, and the kernels that want
# a fused multiply-add call fma.
NVCC_FLAGS = ["-std=c++17", "-O3", "-fmad=false", "-Xcompiler=-fPIC,-Wall,-Wextra"]
# Machine code of a wheel, where nvcc knows it.
CUDA_ARCHS = ["75", "80", "86", "89", "90", "100", "120"]
# Of a build in the checkout, which is compiled again and again: 86 and 89 run the
# code of 80, and newer GPUs translate that of 90 when they first load it.
CHECKOUT_CUDA_ARCHS = ["75", "80", "90"]


def sources(pattern: str = "*.cc") -> list[str]:
    """Every file that is compiled into the op's library, relative to ROOT."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in ("ops", "kernels", "common", "cpu", "cuda")
        for path in (ROOT / "cc" / folder).rglob(pattern)
    )


def stop(sentence: str) -> None:
    sys.exit(f"tf_approxgrad: {sentence}")


def installed_tensorflow() -> importlib.metadata.Distribution | None:
    """The distribution (tensorflow, tensorflow-cpu, tf-nightly, ...) in use."""
    if importlib.util.find_spec("tensorflow") is None:
        stop(
            "no TensorFlow is visible to this build, but the op is compiled against "
            "the TensorFlow that you use: install that first (for example "
            "`pip install tensorflow`), then type "
            "`pip install --no-build-isolation .`"
        )
    names = importlib.metadata.packages_distributions().get("tensorflow", [])
    return importlib.metadata.distribution(names[0]) if names else None


def requirements() -> list[str]:
    """Ties the package to the TensorFlow minor version that it is built for."""
    tensorflow = installed_tensorflow()
    numpy = "numpy>=1.26"
    if tensorflow is None:
        return [numpy]
    version = tensorflow.version
    numbers = version.split(".")
    if (int(numbers[0]), int(numbers[1])) < OLDEST_TENSORFLOW:
        stop(
            f"TensorFlow {version} is installed, but "
            f"{'.'.join(map(str, OLDEST_TENSORFLOW))} or newer is needed"
        )
    is_release = len(numbers) == 3 and numbers[2].isdigit()
    pin = f"{numbers[0]}.{numbers[1]}.*" if is_release else version
    return [numpy, f"{tensorflow.metadata['Name']}=={pin}"]


class Cuda(NamedTuple):
    """What compiles and links the GPU's kernels."""

    nvcc: Path
    version: str
    include: Path
    library: Path
    archs: list[str]


def nvcc_candidates() -> list[Path]:
    """Where an nvcc may be; what the user names goes before what lies around."""
    if named := os.environ.get("CUDACXX"):
        return [Path(shutil.which(named) or named)]
    if folder := os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH"):
        return [Path(folder) / "bin" / "nvcc"]
    found = shutil.which("nvcc")
    candidates = [Path(found)] if found else []
    candidates.append(Path("/usr/local/cuda/bin/nvcc"))
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec and spec.submodule_search_locations) or []:
        candidates += sorted(Path(folder).glob("*/bin/nvcc"))
    return candidates


def find_in_toolkit(nvcc: Path, name: str) -> Path | None:
    """The folder of a CUDA header or library that belongs to an nvcc."""
    # What is called may be a link or a script: nvcc itself says where it is.
    dry_run = [nvcc, "--dryrun", "-c", "none.cu"]
    said = subprocess.run(dry_run, capture_output=True, text=True, check=False).stderr
    here = re.search(r"_HERE_=(.+)", said)
    root = (Path(here[1]) if here else nvcc.resolve().parent).parent
    folders = ["include", "lib64", "lib", "targets/*/include", "targets/*/lib"]
    # Debian's packages, and pip's before CUDA 13.
    folders += ["../../include", "../*-linux-gnu"]
    folders += ["../cuda_runtime/include", "../cuda_runtime/lib"]
    for folder in folders:
        for path in glob.glob(f"{root}/{folder}/{name}"):
            return Path(path).resolve().parent
    return None


def find_cuda(default_archs: list[str]) -> Cuda | None:
    """The CUDA toolkit to build with, or None for the CPU alone."""
    wish = os.environ.get("TF_APPROXGRAD_CUDA", "")
    if wish not in ("", "0", "1"):
        stop(
            f"TF_APPROXGRAD_CUDA is {wish!r}, but it must be 0 (CPU alone), 1 (with "
            "the GPU's kernels), or unset (with them if nvcc is found)"
        )
    if wish == "0":
        return None
    candidates = nvcc_candidates()
    nvcc = next((path for path in candidates if path.is_file()), None)
    if nvcc is None:
        where = ", ".join(map(str, candidates))
        if wish == "1" or os.environ.get("CUDACXX"):
            stop(
                f"no nvcc was found (looked at {where}); install the CUDA toolkit, or "
                "name nvcc in CUDACXX or the toolkit's folder in CUDA_HOME"
            )
        print("tf_approxgrad: no nvcc was found, so the op is built for the CPU alone")
        return None
    include = find_in_toolkit(nvcc, "cuda_runtime.h")
    library = find_in_toolkit(nvcc, "libcudart_static.a")
    if include is None or library is None:
        stop(
            f"{nvcc} was found, but not cuda_runtime.h and libcudart_static.a beside "
            "it; install CUDA's runtime for development, or set TF_APPROXGRAD_CUDA=0"
        )
    version = ask(nvcc, "--version").splitlines()[-1]
    return Cuda(nvcc, version, include, library, cuda_archs(nvcc, default_archs))


def ask(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def cuda_archs(nvcc: Path, default_archs: list[str]) -> list[str]:
    known = re.findall(r"compute_(\w+)", ask(nvcc, "--list-gpu-arch"))
    wish = re.findall(r"[^\s,;]+", os.environ.get("TF_APPROXGRAD_CUDA_ARCHS", ""))
    for arch in wish:
        if arch not in known:
            stop(
                f"TF_APPROXGRAD_CUDA_ARCHS names {arch!r}, but {nvcc} knows "
                f"{', '.join(known)}"
            )
    return wish or [arch for arch in default_archs if arch in known]


def nvcc_command(cuda: Cuda, warnings_are_errors: bool) -> list[str]:
    command = [str(cuda.nvcc), *NVCC_FLAGS, "-I."]
    for arch in cuda.archs:
        command.append(f"-gencode=arch=compute_{arch},code=sm_{arch}")
    # What newer GPUs translate when they first load it.
    newest = max(cuda.archs, key=lambda arch: int(re.sub(r"\D", "", arch)))
    command.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")
    if warnings_are_errors:
        command += ["-Werror=all-warnings", "-Xcompiler=-Werror"]
    return command


class BuildOp(build_ext):
    """Compiles what has changed since the last build, then links the library."""

    cuda_archs = CUDA_ARCHS

    def run(self) -> None:
        # build_ext clears `inplace` while it builds.
        if self.inplace:
            self.cuda_archs = CHECKOUT_CUDA_ARCHS
        super().run()

    def get_ext_filename(self, fullname: str) -> str:
        # A library for tf.load_op_library, not a Python module.
        return str(Path(*fullname.split("."))) + ".so"

    def get_outputs(self) -> list[str]:
        libraries = super().get_outputs()
        return libraries + [str(build_info(Path(path))) for path in libraries]

    def build_extension(self, ext: Extension) -> None:
        import tensorflow as tf

        compiler = shlex.split(os.environ.get("CXX") or "g++")
        if shutil.which(compiler[0]) is None:
            stop(
                f"the C++ compiler {compiler[0]!r} was not found; install one "
                "(for example `apt-get install g++`) or name it in CXX"
            )
        # -isystem: warnings are for this project's code, not TensorFlow's.
        flags = [*COMPILE_FLAGS, "-I."]
        for flag in tf.sysconfig.get_compile_flags():
            flags += ["-isystem", flag[2:]] if flag.startswith("-I") else [flag]
        warnings_are_errors = os.environ.get("TF_APPROXGRAD_WERROR") == "1"
        if warnings_are_errors:
            flags.append("-Werror")
        version = tf.version.VERSION
        command = [*compiler, *flags]
        jobs = [(command, source, version) for source in ext.sources]
        cuda = find_cuda(self.cuda_archs)
        if cuda is not None:
            on_gpu = [*command, "-DTF_APPROXGRAD_CUDA"]
            if cuda.include != Path("/usr/include"):
                on_gpu += ["-isystem", str(cuda.include)]
            jobs = [
                (on_gpu if job[1].endswith("_gpu_kernel.cc") else command, *job[1:])
                for job in jobs
            ]
            nvcc = nvcc_command(cuda, warnings_are_errors)
            # These take the longest, so they go first.
            jobs = [(nvcc, source, cuda.version) for source in sources("*.cu")] + jobs
        folder = ROOT / "build" / "cc"
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda job: compile_source(*job, folder), jobs))
        library = Path(self.get_ext_fullpath(ext.name))
        library.parent.mkdir(parents=True, exist_ok=True)
        command = [*compiler, "-shared", *map(str, objects), "-o", str(library)]
        if cuda is not None:
            # Before TensorFlow's, whose CUDA build exports stubs of the same names;
            # and for our own calls alone.
            command += [f"-L{cuda.library}", "-l:libcudart_static.a"]
            command += ["-Wl,--exclude-libs,libcudart_static.a", "-ldl", "-lrt"]
        command += tf.sysconfig.get_link_flags()
        recorded = folder / f"{library.name}.cmd"
        made_by = f"{version}\n{shlex.join(command)}"
        if not is_linked(library, objects, recorded, made_by):
            run(command)
            info = {
                "tensorflow": version,
                "cuda_archs": cuda.archs if cuda is not None else [],
                "bytes": library.stat().st_size,
            }
            build_info(library).write_text(json.dumps(info) + "\n")
            recorded.write_text(made_by)

    def copy_extensions_to_source(self) -> None:
        # setuptools would keep a damaged library that is newer than the built one.
        for ext in self.extensions:
            (ROOT / self.get_ext_filename(ext.name)).unlink(missing_ok=True)
        super().copy_extensions_to_source()
        for ext in self.extensions:
            built = build_info(Path(self.build_lib) / self.get_ext_filename(ext.name))
            placed = build_info(ROOT / self.get_ext_filename(ext.name))
            shutil.copyfile(built, placed)


def build_info(library: Path) -> Path:
    """The file that records what a library was built for."""
    return library.with_suffix(".json")


def run(command: list[str]) -> None:
    # In one piece, for other threads print too.
    print(f"{shlex.join(command)}\n", end="", flush=True)
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        stop(f"the command above failed: {command[0]} ... {command[-1]}")


def compile_source(
    compiler: list[str], source: str, version: str, folder: Path
) -> Path:
    """Compiles one file unless its object is newer than all that it includes.

    -MMD leaves out TensorFlow's headers: its `version` stands for them, or nvcc's.
    """
    target = (folder / source).with_suffix(".o")
    command = [*compiler, "-MMD", "-c", source, "-o", str(target)]
    recorded = target.with_suffix(".cmd")
    made_by = f"{version}\n{shlex.join(command)}"
    if not is_current(target, recorded, made_by):
        target.parent.mkdir(parents=True, exist_ok=True)
        run(command)
        recorded.write_text(made_by)
    return target


def is_linked(library: Path, objects: list[Path], recorded: Path, made_by: str) -> bool:
    needed = (library, build_info(library), recorded)
    if not all(path.exists() for path in needed) or recorded.read_text() != made_by:
        return False
    if json.loads(build_info(library).read_text())["bytes"] != library.stat().st_size:
        return False
    linked = library.stat().st_mtime_ns
    return all(path.stat().st_mtime_ns <= linked for path in objects)


def is_current(target: Path, recorded: Path, made_by: str) -> bool:
    if not target.exists() or not recorded.exists():
        return False
    if recorded.read_text() != made_by:
        return False
    # "target.o: a.cc b.h \" as make reads it, with spaces in names escaped.
    rule = target.with_suffix(".d").read_text().replace("\\\n", " ")
    # nvcc writes "target.o : ...".
    escaped = re.split(r"\.o ?:", rule, maxsplit=1)[1].replace("\\ ", "\0").split()
    dependencies = [ROOT / name.replace("\0", " ") for name in escaped]
    built = target.stat().st_mtime_ns
    return all(d.exists() and d.stat().st_mtime_ns <= built for d in dependencies)


setup(
    install_requires=requirements(),
    ext_modules=[Extension("tf_approxgrad._op_library", sources=sources())],
    cmdclass={"build_ext": BuildOp},
    zip_safe=False,
)
