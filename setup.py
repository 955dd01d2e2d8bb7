"""Builds the libraries of ops with CMake, one for each TensorFlow that is asked for.

Variables of the environment:

    TF_APPROXGRAD_PYTHONS  interpreters, joined by os.pathsep, whose TensorFlows to
                           build for; by default, the one that runs this file
    TF_APPROXGRAD_WHEEL    1 builds for other machines, too: all kinds of GPU, and C
                           and C++ libraries that are older than this one's
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
IS_WHEEL = os.environ.get("TF_APPROXGRAD_WHEEL") == "1"
BUILD = ROOT / "build" / ("wheel_op" if IS_WHEEL else "op")
FOLDER = Path("tf_approxgrad", "op_libraries")
OLDEST_TENSORFLOW = (2, 18)
QUESTION = """
import importlib.util, json, sys
if importlib.util.find_spec("tensorflow") is None:
    sys.exit("no TensorFlow")
import tensorflow as tf
print(json.dumps({
    "version": tf.version.VERSION,
    "include": tf.sysconfig.get_include(),
    "flags": [flag for flag in tf.sysconfig.get_compile_flags() if flag[:2] != "-I"],
    "library": "/".join(flag[2:].lstrip(":") for flag in tf.sysconfig.get_link_flags()),
}))
"""


def stop(sentence: str) -> None:
    sys.exit(f"tf_approxgrad: {sentence}")


def tensorflow_of(python: str) -> dict[str, Any]:
    """The version, headers, flags and library of an interpreter's TensorFlow."""
    # In the second, pip's environment for builds doesn't hide what is installed.
    hiding = ("PYTHONPATH", "PYTHONNOUSERSITE")
    seen = {name: value for name, value in os.environ.items() if name not in hiding}
    if shutil.which(python) is None:
        stop(f"TF_APPROXGRAD_PYTHONS names {python!r}, which is no interpreter")
    for environment in (os.environ, seen):
        answer = subprocess.run(
            [python, "-c", QUESTION],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode == 0:
            break
    if answer.stderr.strip() == "no TensorFlow":
        stop(
            f"{python} has no TensorFlow, and ops are compiled against the one that "
            "you use: install that first (for example `pip install tensorflow`), or "
            "name its interpreter in TF_APPROXGRAD_PYTHONS; where PYTHONPATH leads to "
            "it, type `pip install cmake ninja` and build with --no-build-isolation"
        )
    if answer.returncode != 0:
        stop(f"{python} cannot import TensorFlow: {answer.stderr}")
    tensorflow = json.loads(answer.stdout.splitlines()[-1])
    if minor_version(tensorflow["version"]) < OLDEST_TENSORFLOW:
        stop(
            f"{python} has TensorFlow {tensorflow['version']}, but "
            f"{'.'.join(map(str, OLDEST_TENSORFLOW))} or newer is needed"
        )
    return tensorflow


def minor_version(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


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
        stop("the libraries of ops were not built: see the output above")


class BuildOps(build_ext):
    """Has CMake compile what has changed, and records what each library is for."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.built: list[Path] = []

    def get_outputs(self) -> list[str]:
        return [str(Path(self.build_lib) / path) for path in self.built]

    def get_output_mapping(self) -> dict[str, str]:
        if not self.inplace:
            return {}
        return {str(Path(self.build_lib) / p): str(ROOT / p) for p in self.built}

    def build_extension(self, ext: Extension) -> None:
        pythons = os.environ.get("TF_APPROXGRAD_PYTHONS") or sys.executable
        tensorflows = [tensorflow_of(python) for python in pythons.split(os.pathsep)]
        minors = [minor_version(each["version"]) for each in tensorflows]
        if len(set(minors)) < len(minors):
            stop(
                f"TF_APPROXGRAD_PYTHONS={pythons} names the minor version of one "
                "TensorFlow twice"
            )
        settings = {
            "TENSORFLOW_VERSIONS": ";".join(each["version"] for each in tensorflows),
            "TF_APPROXGRAD_WHEEL": "ON" if IS_WHEEL else "OFF",
            "SITE_PACKAGES": sysconfig.get_path("purelib"),
            "CMAKE_MAKE_PROGRAM": find_program("ninja"),
        }
        for each in tensorflows:
            name = f"TENSORFLOW_{each['version']}"
            settings[f"{name}_INCLUDE"] = each["include"]
            settings[f"{name}_FLAGS"] = ";".join(each["flags"])
            settings[f"{name}_LIBRARY"] = each["library"]
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
        folder = Path(self.build_lib) / FOLDER
        # Of an earlier build, maybe for other versions.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for each in tensorflows:
            self.record(each["version"], folder)

    def record(self, version: str, folder: Path) -> None:
        """Copies what CMake built for a TensorFlow, and says so beside it."""
        major, minor = minor_version(version)
        name = f"tensorflow_{major}_{minor}.so"
        library = shutil.copyfile(BUILD / FOLDER.name / name, folder / name)
        info = {
            "tensorflow": version,
            "cuda_archs": (BUILD / "cuda_archs").read_text().split(),
            "bytes": library.stat().st_size,
        }
        library.with_suffix(".json").write_text(json.dumps(info) + "\n")
        names = (name, f"{library.stem}.json")
        self.built += [FOLDER / name for name in names]

    def copy_extensions_to_source(self) -> None:
        # A checkout has what was built last: others would be of older sources.
        shutil.rmtree(ROOT / FOLDER, ignore_errors=True)
        (ROOT / FOLDER).mkdir()
        for path in self.built:
            shutil.copyfile(Path(self.build_lib) / path, ROOT / path)


class AnyPython(bdist_wheel):
    """Names the wheel for every Python 3: the libraries don't link with Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


setup(
    # Stands for all libraries, and makes setuptools call BuildOps.
    ext_modules=[Extension(".".join(FOLDER.parts), sources=[])],
    cmdclass={"build_ext": BuildOps, "bdist_wheel": AnyPython},
    zip_safe=False,
)
