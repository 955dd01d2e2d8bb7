"""setup.py builds the library that the loader expects, and nothing twice."""

import importlib.metadata
import importlib.util
import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import setuptools
from small_checkout import (
    LIBRARY,
    RECORD,
    ROOT,
    SOURCES,
    build,
    compiled,
    objects,
    write_tensorflow,
)

CPU_SOURCES = {
    name
    for name in SOURCES
    if name.endswith(".cc") and not name.endswith("_gpu_kernel.cc")
}
OP_SOURCES = {name for name in CPU_SOURCES if name.startswith(("cc/ops", "cc/kernels"))}


def test_library_of_the_cpu_is_recorded_beside_it(built: Path) -> None:
    library = built / "tf_approxgrad" / LIBRARY
    assert json.loads(library.with_name(RECORD).read_text()) == {
        "tensorflow": "2.21.0",
        "cuda_archs": [],
        "bytes": library.stat().st_size,
    }
    assert objects(built).keys() == CPU_SOURCES


def test_second_build_compiles_nothing(built: Path) -> None:
    before = objects(built)
    assert build(built).returncode == 0
    assert compiled(built, before) == set()


@pytest.mark.parametrize(
    ("touched", "users"),
    [
        ("cc/common/size.cc", {"cc/common/size.cc"}),
        ("cc/common/size.h", {"cc/common/size.cc", "cc/cpu/rows/plan.cc"}),
    ],
)
def test_touched_file_compiles_what_includes_it_alone(
    built: Path, touched: str, users: set[str]
) -> None:
    before = objects(built)
    (built / touched).touch()
    assert build(built).returncode == 0
    assert compiled(built, before) == users


def test_new_file_is_compiled_without_being_listed(built: Path) -> None:
    before = objects(built)
    path = built / "cc/cpu/rows/new.cc"
    path.write_text("int New() { return 1; }\n")
    assert build(built).returncode == 0
    assert compiled(built, before) == {"cc/cpu/rows/new.cc"}
    path.unlink()
    assert build(built).returncode == 0


def test_another_tensorflow_compiles_what_knows_it(built: Path) -> None:
    before = objects(built)
    write_tensorflow(built.parent / "site", "2.20.0")
    assert build(built).returncode == 0
    assert compiled(built, before) == OP_SOURCES
    record = json.loads((built / "tf_approxgrad" / RECORD).read_text())
    assert record["tensorflow"] == "2.20.0"


def test_another_compiler_compiles_everything(built: Path) -> None:
    before = objects(built)
    assert build(built, CXX="g++ -DOTHER").returncode == 0
    assert compiled(built, before) == CPU_SOURCES


def test_damaged_library_is_replaced(built: Path) -> None:
    library = built / "tf_approxgrad" / LIBRARY
    whole = library.read_bytes()
    library.write_bytes(whole[:100])
    assert build(built).returncode == 0
    assert library.read_bytes() == whole


def test_kernels_cannot_include_tensorflow(built: Path) -> None:
    path = built / "cc/cpu/rows/mistake.cc"
    path.write_text("#include <framework.h>\n")
    result = build(built)
    path.unlink()
    assert result.returncode != 0
    assert "framework.h: No such file" in result.stdout


def test_error_in_a_source_names_it_and_keeps_the_last_library(built: Path) -> None:
    library = built / "tf_approxgrad" / LIBRARY
    path = built / "cc/common/size.cc"
    text, before = path.read_text(), library.stat().st_mtime_ns
    path.write_text(text + "this is no C++;\n")
    result = build(built)
    path.write_text(text)
    assert result.returncode != 0
    assert "cc/common/size.cc:3" in result.stdout
    assert "Traceback" not in result.stdout
    assert library.stat().st_mtime_ns == before


def test_warning_is_an_error_on_request_alone(built: Path) -> None:
    path = built / "cc/cpu/rows/unused.cc"
    path.write_text("static int unused;\n")
    asked = build(built, TF_APPROXGRAD_WERROR="1")
    result = build(built, TF_APPROXGRAD_WERROR="0")
    path.unlink()
    assert asked.returncode != 0
    assert "-Werror=unused-variable" in asked.stdout
    assert result.returncode == 0, result.stdout


def test_missing_compiler_is_named_and_nothing_is_written(checkout: Path) -> None:
    result = build(checkout, CXX="/nonexistent/g++")
    assert result.returncode != 0
    assert "CXX:\n\n  /nonexistent/g++" in result.stdout
    assert "Traceback" not in result.stdout
    assert not list((checkout / "tf_approxgrad").glob("_op_library.*"))


def test_missing_cmake_is_named_with_what_to_type(checkout: Path) -> None:
    stand_in = checkout.parent / "site" / "sitecustomize.py"
    stand_in.write_text("import shutil\nshutil.which = lambda *_, **__: None\n")
    result = build(checkout)
    assert result.returncode != 0
    last = result.stdout.splitlines()[-1]
    assert last.startswith(
        "tf_approxgrad: ninja was not found: type `pip install cmake"
    )


class FakeTensorFlow:
    def __init__(self, name: str, version: str) -> None:
        self.metadata = {"Name": name}
        self.version = version


@pytest.fixture
def install_requires(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs setup.py beside a TensorFlow of any name; returns what it requires."""

    def read(name: str, version: str) -> list[str]:
        given = {}
        metadata = importlib.metadata
        monkeypatch.setattr(
            setuptools, "setup", lambda **options: given.update(options)
        )
        monkeypatch.setattr(
            metadata, "packages_distributions", lambda: {"tensorflow": [name]}
        )
        monkeypatch.setattr(
            metadata, "distribution", lambda asked: FakeTensorFlow(asked, version)
        )
        runpy.run_path(str(ROOT / "setup.py"))
        return given["install_requires"]

    return read


@pytest.mark.parametrize(
    ("name", "version", "requirement"),
    [
        ("tensorflow", "2.18.0", "tensorflow==2.18.*"),
        ("tensorflow_cpu", "2.21.1", "tensorflow_cpu==2.21.*"),
        ("tf_nightly", "2.22.0.dev20260101", "tf_nightly==2.22.0.dev20260101"),
        ("tensorflow", "2.21.0rc1", "tensorflow==2.21.0rc1"),
        ("tensorflow", "3.0.0", "tensorflow==3.0.*"),
    ],
)
def test_package_requires_the_tensorflow_that_is_installed_and_no_other(
    install_requires: Callable[..., list[str]],
    name: str,
    version: str,
    requirement: str,
) -> None:
    required = install_requires(name, version)
    assert [item for item in required if not item.startswith("numpy")] == [requirement]


def test_tensorflow_that_is_too_old_is_refused(
    install_requires: Callable[..., list[str]],
) -> None:
    with pytest.raises(
        SystemExit, match=r"TensorFlow 2\.17\.1 is installed, but 2\.18 or newer"
    ):
        install_requires("tensorflow", "2.17.1")


def test_build_without_tensorflow_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="no TensorFlow is visible") as error:
        runpy.run_path(str(ROOT / "setup.py"))
    assert str(error.value).endswith("type `pip install --no-build-isolation .`")
