"""The Makefile's set-up: what it installs, compiles and refuses, and when."""

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from small_checkout import LIBRARY, RECORD, run, times


@pytest.fixture
def set_up(checkout: Path) -> Path:
    """A checkout as after a finished set-up."""
    for name in (LIBRARY, RECORD):
        path = checkout / "tf_approxgrad" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for path in checkout.rglob("*"):
        os.utime(path, (1, 1))
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    for time, stamp in enumerate((".stamp-venv", ".stamp-installed"), start=2):
        (checkout / ".venv" / stamp).write_text("tensorflow==2.21.0\n")
        os.utime(checkout / ".venv" / stamp, (time, time))
    return checkout


@pytest.fixture
def old_python(tmp_path: Path) -> Path:
    """A Python that calls itself 3.9 and runs -c alone."""
    code = tmp_path / "python3.9.code"
    code.write_text(
        "import sys\n"
        "sys.version_info = (3, 9, 18, 'final', 0)\n"
        "option, code = sys.argv[1:3]\n"
        "exec(code) if option == '-c' else sys.exit(f'must not run {sys.argv}')\n"
    )
    path = tmp_path / "python3.9"
    path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(code)])} "$@"\n')
    path.chmod(0o755)
    return path


def planned(checkout: Path, *arguments: str) -> str:
    """What make would run."""
    result = run("make", "-n", *arguments, cwd=checkout)
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.parametrize(
    "argument", ["setup", "PYTHON=.venv/bin/python", "TENSORFLOW=tensorflow==2.21.0"]
)
def test_make_has_nothing_to_do_after_a_set_up(set_up: Path, argument: str) -> None:
    assert "Nothing to be done for 'setup'" in planned(set_up, argument)


@pytest.mark.parametrize("target", ["demo", "test", "lint"])
def test_targets_begin_at_once_after_a_set_up(set_up: Path, target: str) -> None:
    commands = planned(set_up, target).splitlines()
    assert commands
    assert not any(word in line for line in commands for word in ("pip", "venv --"))


@pytest.mark.parametrize("name", ["setup.py", "CMakeLists.txt", "cc/common/size.h"])
def test_make_installs_again_after_a_change_and_keeps_the_environment(
    set_up: Path, name: str
) -> None:
    (set_up / name).touch()
    commands = planned(set_up)
    assert "pip install" in commands
    assert "-m venv" not in commands


@pytest.mark.parametrize("name", [LIBRARY, RECORD])
def test_make_builds_a_library_that_is_missing(set_up: Path, name: str) -> None:
    (set_up / "tf_approxgrad" / name).unlink()
    assert "pip install" in planned(set_up)


def test_make_installs_another_tensorflow_on_request(set_up: Path) -> None:
    commands = planned(set_up, "TENSORFLOW=tensorflow==2.20.0")
    assert "'tensorflow==2.20.0'" in commands
    assert "-m venv" not in commands


def test_make_alone_sets_up_and_does_nothing_else(set_up: Path) -> None:
    shutil.rmtree(set_up / ".venv")
    commands = planned(set_up)
    assert "-m venv" in commands
    assert "pip install" in commands
    assert "pytest" not in commands


@pytest.mark.parametrize("has_environment", [True, False])
def test_make_refuses_an_old_python_in_one_sentence_and_changes_nothing(
    set_up: Path, old_python: Path, has_environment: bool
) -> None:
    if not has_environment:
        shutil.rmtree(set_up / ".venv")
    before = times(set_up, "*")
    result = run("make", f"PYTHON={old_python}", cwd=set_up)
    assert result.returncode != 0
    (sentence, *rest) = result.stdout.splitlines()
    assert sentence == (
        f"tf_approxgrad needs Python 3.10 to 3.13, but {old_python} is 3.9: name "
        "another with PYTHON=python3.x"
    )
    # Beside it, only make's own note that the recipe failed.
    assert all(line.startswith("make: ***") for line in rest), rest
    assert times(set_up, "*") == before


def test_make_names_an_interpreter_that_does_not_exist(set_up: Path) -> None:
    before = times(set_up, "*")
    result = run("make", "PYTHON=python3.99", cwd=set_up)
    assert result.returncode != 0
    assert "python3.99" in result.stdout
    assert times(set_up, "*") == before
