"""Builds the op's library against the TensorFlow that is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
OLDEST_TENSORFLOW = (2, 18)
COMPILE_FLAGS = [
    *["-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math"],
    *["-Wall", "-Wextra"],
]


def sources() -> list[str]:
    """Every file that is compiled into the op's library, relative to ROOT."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in ("cc/ops", "cc/kernels")
        for path in (ROOT / folder).glob("*.cc")
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


class BuildOp(build_ext):
    """Compiles what has changed since the last build, then links the library."""

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
        if os.environ.get("TF_APPROXGRAD_WERROR") == "1":
            flags.append("-Werror")
        folder = ROOT / "build" / "cc"
        version = tf.version.VERSION
        command = [*compiler, *flags]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(
                pool.map(
                    lambda source: compile_source(command, source, folder, version),
                    ext.sources,
                )
            )
        library = Path(self.get_ext_fullpath(ext.name))
        library.parent.mkdir(parents=True, exist_ok=True)
        command = [*compiler, "-shared", *map(str, objects), "-o", str(library)]
        command += tf.sysconfig.get_link_flags()
        recorded = folder / f"{library.name}.cmd"
        made_by = f"{version}\n{shlex.join(command)}"
        if not is_linked(library, objects, recorded, made_by):
            run(command)
            info = {"tensorflow": version, "bytes": library.stat().st_size}
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
    print(shlex.join(command), flush=True)
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        stop(f"the command above failed: {command[0]} ... {command[-1]}")


def compile_source(
    compiler: list[str], source: str, folder: Path, version: str
) -> Path:
    """Compiles one file unless its object is newer than all that it includes.

    -MMD leaves out TensorFlow's headers: its `version` stands for them.
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
    escaped = rule.split(".o:", 1)[1].replace("\\ ", "\0").split()
    dependencies = [ROOT / name.replace("\0", " ") for name in escaped]
    built = target.stat().st_mtime_ns
    return all(d.exists() and d.stat().st_mtime_ns <= built for d in dependencies)


setup(
    install_requires=requirements(),
    ext_modules=[Extension("tf_approxgrad._op_library", sources=sources())],
    cmdclass={"build_ext": BuildOp},
    zip_safe=False,
)
