"""setup.py builds the library that the loader expects, and nothing twice."""

import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_checkout import (
    LIBRARY,
    RECORD,
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
    assert json.loads(library.with_suffix(".json").read_text()) == {
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


def test_another_release_of_tensorflow_compiles_what_knows_it(built: Path) -> None:
    before = objects(built)
    write_tensorflow(built.parent / "site", "2.21.1")
    assert build(built).returncode == 0
    assert compiled(built, before) == OP_SOURCES
    record = json.loads((built / "tf_approxgrad" / RECORD).read_text())
    assert record["tensorflow"] == "2.21.1"


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
    assert not list((checkout / "tf_approxgrad").glob("op_libraries/*"))


def test_missing_program_is_named_with_what_to_type(checkout: Path) -> None:
    stand_in = checkout.parent / "site" / "sitecustomize.py"
    stand_in.write_text(
        "import shutil\nshutil.which = lambda name, path=None: None if path else name\n"
    )
    result = build(checkout)
    assert result.returncode != 0
    last = result.stdout.splitlines()[-1]
    assert last.startswith(
        "tf_approxgrad: ninja was not found: type `pip install cmake"
    )


@pytest.fixture
def interpreter(tmp_path: Path) -> Callable[..., str]:
    """Makes interpreters that see one folder of packages and no other."""

    def make(name: str, site: Path | None) -> str:
        path = tmp_path / name
        command = f"PYTHONPATH={shlex.quote(str(site))} " if site else ""
        options = "-S" if site else "-IS"
        path.write_text(f'#!/bin/sh\n{command}exec {sys.executable} {options} "$@"\n')
        path.chmod(0o755)
        return str(path)

    return make


def test_libraries_for_several_tensorflows_share_the_kernels(
    checkout: Path, tmp_path: Path, interpreter: Callable[..., str]
) -> None:
    versions = ("2.18.1", "2.20.0", "2.22.0rc1")
    pythons = [
        interpreter(f"python{version}", write_tensorflow(tmp_path / version, version))
        for version in versions
    ]
    result = build(checkout, TF_APPROXGRAD_PYTHONS=os.pathsep.join(pythons))
    assert result.returncode == 0, result.stdout
    folder = checkout / "tf_approxgrad" / "op_libraries"
    stems = [f"tensorflow_{name}" for name in ("2_18", "2_20", "2_22")]
    assert {path.name for path in folder.iterdir()} == {
        f"{stem}.{suffix}" for stem in stems for suffix in ("so", "json")
    }
    for stem, version in zip(stems, versions, strict=True):
        record = json.loads((folder / f"{stem}.json").read_text())
        assert record["tensorflow"] == version
    compiled = [path.name for path in (checkout / "build/op").rglob("*.o")]
    assert compiled.count("rows_kernel.cc.o") == len(versions)
    assert compiled.count("plan.cc.o") == 1
    # A build for one leaves no library of older sources.
    result = build(checkout, TF_APPROXGRAD_PYTHONS=pythons[0])
    assert result.returncode == 0, result.stdout
    assert {path.stem for path in folder.iterdir()} == {stems[0]}


def test_build_in_pips_own_environment_sees_what_is_installed(
    checkout: Path, tmp_path: Path
) -> None:
    # pip hides that behind a PYTHONPATH of its own.
    python = tmp_path / "python"
    site = shlex.quote(str(checkout.parent / "site"))
    command = f"PYTHONPATH=${{PYTHONPATH:-{site}}} exec {sys.executable} -S"
    python.write_text(f'#!/bin/sh\n{command} "$@"\n')
    python.chmod(0o755)
    result = build(checkout, PYTHONPATH="/pip", TF_APPROXGRAD_PYTHONS=str(python))
    assert result.returncode == 0, result.stdout
    assert (checkout / "tf_approxgrad" / LIBRARY).exists()


def test_tensorflow_that_is_too_old_is_refused(
    checkout: Path, interpreter: Callable[..., str]
) -> None:
    site = write_tensorflow(checkout.parent / "old site", "2.17.1")
    python = interpreter("old", site)
    result = build(checkout, TF_APPROXGRAD_PYTHONS=python)
    assert result.returncode != 0
    assert result.stdout.splitlines()[-1] == (
        f"tf_approxgrad: {python} has TensorFlow 2.17.1, but 2.18 or newer is needed"
    )
    assert not (checkout / "build").exists()


def test_build_without_tensorflow_says_what_to_type(
    checkout: Path, interpreter: Callable[..., str]
) -> None:
    python = interpreter("bare", None)
    result = build(checkout, TF_APPROXGRAD_PYTHONS=python)
    assert result.returncode != 0
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"tf_approxgrad: {python} has no TensorFlow")
    assert "`pip install tensorflow`" in last
    assert not (checkout / "build").exists()


def test_interpreter_that_does_not_exist_is_named(checkout: Path) -> None:
    result = build(checkout, TF_APPROXGRAD_PYTHONS="/nonexistent/python")
    assert result.returncode != 0
    assert result.stdout.splitlines()[-1] == (
        "tf_approxgrad: TF_APPROXGRAD_PYTHONS names '/nonexistent/python', which is no "
        "interpreter"
    )
