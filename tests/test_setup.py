"""setup.py without CUDA: what it compiles, requires and refuses."""

import importlib.metadata
import re
import runpy
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import setuptools
from building import ROOT, Builder, build, run, sources_of, times


def setuptools_wheel(folder: Path) -> None:
    """Packs the installed setuptools as a wheel, so that pip needs no network."""
    distribution = importlib.metadata.distribution("setuptools")
    name = f"setuptools-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for file in distribution.files:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                wheel.write(file.locate(), file)


def test_isolated_build_stops_with_one_sentence_that_says_what_to_type(
    set_up: Path, tmp_path: Path
) -> None:
    setuptools_wheel(tmp_path)
    before = times(set_up, "*")
    target = tmp_path / "target"
    options = ("--no-deps", "--no-index", "--find-links", tmp_path, "--target", target)
    result = run(sys.executable, "-m", "pip", "install", *options, ".", cwd=set_up)
    assert result.returncode != 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    (message,) = (line for line in lines if line.startswith("tf_approxgrad: "))
    assert "no TensorFlow is visible to this build" in message
    assert message.endswith("type `pip install --no-build-isolation .`")
    assert not re.search(r"[.!?]\s+[A-Z]", message), "more than one sentence"
    assert not target.exists()
    assert times(set_up, "*") == before


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        (
            "/nonexistent/g++",
            "tf_approxgrad: the C++ compiler '/nonexistent/g++' was not found; install "
            "one (for example `apt-get install g++`) or name it in CXX",
        ),
        ("no-such-compiler -m64", "the C++ compiler 'no-such-compiler' was not found"),
        ("false", "tf_approxgrad: the command above failed: false ... "),
    ],
)
def test_build_without_a_working_compiler_names_it_and_writes_no_file(
    set_up: Path, compiler: str, message: str
) -> None:
    before = times(set_up, "*.*")
    result = build(set_up, CXX=compiler)
    assert result.returncode != 0
    assert message in result.stdout.splitlines()[-1]
    assert "Traceback" not in result.stdout
    assert times(set_up, "*.*") == before


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


def test_another_tensorflow_in_the_same_place_recompiles_everything(
    set_up: Path, fake_build: Builder
) -> None:
    sources = sources_of(set_up, "cc/ops/*.cc", "cc/kernels/*.cc")
    assert fake_build("2.20.0")[0] == sources
    assert fake_build("2.20.0")[0] == set()
    # Otherwise the old objects would be linked and recorded as made for the new one.
    assert fake_build("2.21.0")[0] == sources
