"""The Makefile's set-up: what it installs, compiles and refuses, and when."""

import re
import shutil
from pathlib import Path

import pytest
from building import BUILD_INFO, LIBRARY, run, times, write_program


@pytest.fixture
def interpreter(tmp_path: Path) -> Path:
    """A Python that calls itself 3.9, runs -c and fails at everything else."""
    return write_program(
        tmp_path / "python3.9",
        "import sys\n"
        "sys.version_info = (3, 9, 18, 'final', 0)\n"
        "option, code = sys.argv[1:3]\n"
        "exec(code) if option == '-c' else sys.exit(f'must not run {sys.argv}')\n",
    )


@pytest.mark.parametrize("named", [False, True])
def test_make_has_nothing_to_do_after_a_set_up(set_up: Path, named: bool) -> None:
    arguments = ["PYTHON=.venv/bin/python"] if named else []
    result = run("make", "-n", *arguments, cwd=set_up)
    assert result.returncode == 0, result.stdout
    assert "Nothing to be done for 'setup'" in result.stdout


@pytest.mark.parametrize("target", ["demo", "test", "test-slow", "lint", "format"])
def test_no_target_installs_or_compiles_again_after_a_set_up(
    set_up: Path, target: str
) -> None:
    result = run("make", "-n", target, cwd=set_up)
    assert result.returncode == 0, result.stdout
    assert result.stdout.strip()
    assert not re.search(r"\bpip\b|-m venv|setup\.py|g\+\+", result.stdout)


@pytest.mark.parametrize(
    "name", ["setup.py", "pyproject.toml", "cc/kernels/geometry.cc", "cc/ops/*.h"]
)
def test_make_installs_again_after_a_change_but_keeps_the_environment(
    set_up: Path, name: str
) -> None:
    (path, *_) = set_up.glob(name)
    path.touch()
    result = run("make", "-n", cwd=set_up)
    assert "pip install" in result.stdout
    assert "-m venv" not in result.stdout


@pytest.mark.parametrize("name", [LIBRARY, BUILD_INFO])
def test_make_builds_a_library_that_is_missing_as_the_loader_says(
    set_up: Path, name: str
) -> None:
    (set_up / "tf_approxgrad" / name).unlink()
    result = run("make", "-n", cwd=set_up)
    assert "pip install" in result.stdout
    assert "-m venv" not in result.stdout


def test_make_alone_sets_up_and_does_nothing_else(set_up: Path) -> None:
    shutil.rmtree(set_up / ".venv")
    commands = run("make", "-n", cwd=set_up).stdout
    assert "-m venv" in commands
    assert "pip install" in commands
    assert "pytest" not in commands
    assert "train.py" not in commands


def test_make_refuses_an_old_python_in_one_sentence_and_keeps_the_environment(
    set_up: Path, interpreter: Path
) -> None:
    before = times(set_up, "*")
    result = run("make", f"PYTHON={interpreter}", cwd=set_up)
    assert result.returncode != 0
    (sentence, *rest) = result.stdout.splitlines()
    assert sentence == (
        f"tf_approxgrad needs Python 3.10 to 3.13, but {interpreter} is 3.9: name "
        "another with PYTHON=python3.x"
    )
    # Beside it, only make's own note that the recipe failed.
    assert all(line.startswith("make: ***") for line in rest), rest
    assert times(set_up, "*") == before


def test_make_refuses_an_old_python_without_an_environment_too(
    set_up: Path, interpreter: Path
) -> None:
    shutil.rmtree(set_up / ".venv")
    result = run("make", f"PYTHON={interpreter}", cwd=set_up)
    assert result.returncode != 0
    assert "tf_approxgrad needs Python 3.10 to 3.13" in result.stdout
    assert not (set_up / ".venv").exists()


def test_make_says_that_an_interpreter_does_not_exist(set_up: Path) -> None:
    before = times(set_up, "*")
    result = run("make", "PYTHON=python3.99", cwd=set_up)
    assert result.returncode != 0
    assert "python3.99" in result.stdout
    assert times(set_up, "*") == before
