"""Running make and setup.py in copies of the checkout, with stand-ins for compilers."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Not resolved: under Bazel the files of the checkout are links in the test's folder.
ROOT = Path(__file__).parents[1]
LIBRARY = "_op_library.so"
BUILD_INFO = "_op_library.json"
# What `make test PYTHON=... -j2` would otherwise hand on to the make of a test.
MAKE_VARIABLES = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "PYTHON"}

Times = dict[str, int]


def run(
    *command: str | Path, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in MAKE_VARIABLES}
    # Tests of the GPU's part say so: nvcc takes minutes.
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


def times(folder: Path, pattern: str) -> Times:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob(pattern)
    }


def changed(before: Times, after: Times) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def build(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "setup.py", "build_ext", cwd=checkout, **environment)


def write_program(path: Path, code: str) -> Path:
    """Writes an executable that runs Python code."""
    script = path.with_suffix(".code")
    script.write_text(code)
    # A first line can't name an interpreter whose path has a space.
    command = shlex.join([sys.executable, str(script)])
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def set_up(tmp_path: Path) -> Path:
    """What make looks at, in a path with a space, as after a finished set-up."""
    folder = tmp_path / "check out"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "cc", folder / "cc")
    (folder / "tf_approxgrad").mkdir()
    for name in (LIBRARY, BUILD_INFO):
        (folder / "tf_approxgrad" / name).touch()
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    venv = folder / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    for time, stamp in enumerate((".stamp-venv", ".stamp-installed"), start=2):
        (venv / stamp).touch()
        os.utime(venv / stamp, (time, time))
    return folder


# What stands in for a compiler: it writes what the real ones do, and logs it.
FAKE_COMPILER = """
import pathlib, sys
target = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
target.touch()
if "-c" in sys.argv:
    source = sys.argv[sys.argv.index("-c") + 1]
    target.with_suffix(".d").write_text(f"{target.name}COLON {source}")
    open(LOG, "a").write(source + "\\n")
"""

Builder = Callable[..., tuple[set[str], str]]


@pytest.fixture
def fake_build(set_up: Path, tmp_path: Path) -> Builder:
    """Builds with stand-ins for compiler and TensorFlow.

    Returns the sources that were compiled and the output. The TensorFlow of every
    version lies in the same folder, as in one environment.
    """
    log = tmp_path / "log"
    code = f"LOG = {str(log)!r}\n{FAKE_COMPILER}"
    compiler = write_program(tmp_path / "compiler", code.replace("COLON", ":"))
    site = tmp_path / "site"
    metadata = site / "tensorflow-0.dist-info"
    for folder in (metadata, site / "tensorflow"):
        folder.mkdir(parents=True)
    (metadata / "top_level.txt").write_text("tensorflow\n")

    def build_with(version: str, **environment: str) -> tuple[set[str], str]:
        (metadata / "METADATA").write_text(f"Name: tensorflow\nVersion: {version}\n")
        (site / "tensorflow" / "__init__.py").write_text(
            "class version:\n"
            f"    VERSION = {version!r}\n"
            "class sysconfig:\n"
            "    get_compile_flags = staticmethod(lambda: ['-I/include'])\n"
            "    get_link_flags = staticmethod(lambda: ['-lframework'])\n"
        )
        log.write_text("")
        named = {"CXX": shlex.quote(str(compiler)), "PYTHONPATH": str(site)}
        result = build(set_up, **named, **environment)
        assert result.returncode == 0, result.stdout
        (path,) = (set_up / "build").rglob(BUILD_INFO)
        assert json.loads(path.read_text())["tensorflow"] == version
        return set(log.read_text().split()), result.stdout

    return build_with


def sources_of(folder: Path, *patterns: str) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for pattern in patterns
        for path in folder.glob(pattern)
    }
