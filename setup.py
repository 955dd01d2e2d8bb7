"""Builds the op's library with CMake, against the TensorFlow that is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "build" / "op"
OLDEST_TENSORFLOW = (2, 18)


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


def find_program(name: str) -> str:
    """The path of CMake or ninja, pip's or another."""
    # pip's are in an environment that need not be activated.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        stop(f"{name} was not found: type `pip install cmake ninja`")
    return found


def cmake(*arguments: str | Path) -> None:
    command = [find_program("cmake"), *map(str, arguments)]
    if subprocess.run(command, check=False).returncode != 0:
        stop("the op's library was not built: see the output above")


class BuildOp(build_ext):
    """Has CMake compile what has changed, and records what the library is for."""

    def run(self) -> None:
        # build_ext clears `inplace` while it builds.
        self.is_wheel = not self.inplace
        super().run()

    def get_ext_filename(self, fullname: str) -> str:
        # A library for tf.load_op_library, not a Python module.
        return str(Path(*fullname.split("."))) + ".so"

    def get_outputs(self) -> list[str]:
        libraries = super().get_outputs()
        return libraries + [str(record_of(Path(path))) for path in libraries]

    def build_extension(self, ext: Extension) -> None:
        import tensorflow as tf

        link_folder, link_name = tf.sysconfig.get_link_flags()
        flags = [flag for flag in tf.sysconfig.get_compile_flags() if flag[:2] != "-I"]
        settings = {
            "TENSORFLOW_VERSION": tf.version.VERSION,
            "TENSORFLOW_INCLUDE": tf.sysconfig.get_include(),
            "TENSORFLOW_FLAGS": ";".join(flags),
            "TENSORFLOW_LIBRARY": f"{link_folder[2:]}/{link_name[3:]}",
            "TF_APPROXGRAD_WHEEL": "ON" if self.is_wheel else "OFF",
            "SITE_PACKAGES": sysconfig.get_path("purelib"),
            "CMAKE_MAKE_PROGRAM": find_program("ninja"),
        }
        # A build's folder belongs to one checkout and one choice of compilers.
        names = ("CXX", "CUDACXX", "CUDA_HOME", "CUDA_PATH")
        origin = f"{ROOT} {[os.environ.get(name) for name in names]}"
        recorded = BUILD / "origin"
        fresh = not recorded.exists() or recorded.read_text() != origin
        cmake(
            *(["--fresh"] if fresh else []),
            *("-G", "Ninja", "-S", ROOT, "-B", BUILD),
            *(f"-D{name}={value}" for name, value in settings.items()),
        )
        recorded.write_text(origin)
        cmake("--build", BUILD)
        library = Path(self.get_ext_fullpath(ext.name))
        library.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(BUILD / library.name, library)
        info = {
            "tensorflow": tf.version.VERSION,
            "cuda_archs": (BUILD / "cuda_archs").read_text().split(),
            "bytes": library.stat().st_size,
        }
        record_of(library).write_text(json.dumps(info) + "\n")

    def copy_extensions_to_source(self) -> None:
        # setuptools would keep a damaged library that is newer than the built one.
        for ext in self.extensions:
            library = Path(self.get_ext_filename(ext.name))
            for path in (library, record_of(library)):
                shutil.copyfile(Path(self.build_lib) / path, ROOT / path)


def record_of(library: Path) -> Path:
    """The file that says what a library was built for."""
    return library.with_suffix(".json")


setup(
    install_requires=requirements(),
    ext_modules=[Extension("tf_approxgrad._op_library", sources=[])],
    cmdclass={"build_ext": BuildOp},
    zip_safe=False,
)
