"""The loader: a library that is missing, damaged or another's is refused in words.

Each test breaks a copy of op_library.py and of the library that it loads.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import tensorflow as tf

from tf_approxgrad.gradients import op_library

LIBRARY = "_op_library.so"
BUILD_INFO = "_op_library.json"
MAJOR, MINOR, *_ = tf.version.VERSION.split(".")

Files = dict[str, tuple[bytes, int]]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the loader and an intact library, its path with a space."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = tmp_path / "site packages" / "tf_approxgrad"
    loader = Path(op_library.__file__)
    (folder / loader.parent.name).mkdir(parents=True)
    for source in (loader, *map(loader.parents[1].joinpath, (LIBRARY, BUILD_INFO))):
        shutil.copyfile(source, folder / source.relative_to(loader.parents[1]))
    return folder


def files(folder: Path) -> Files:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def load(package: Path) -> ModuleType:
    copy = package / "gradients" / "op_library.py"
    spec = importlib.util.spec_from_file_location("copy_of_op_library", copy)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_in_another_process(package: Path) -> subprocess.CompletedProcess[str]:
    """Imports the copy and computes with it, where a crash ends no test run."""
    program = (
        "import op_library, tensorflow as tf\n"
        "x, dy = tf.ones([1, 2, 2, 1]), tf.constant([[[[1.], [2.]], [[3.], [4.]]]])\n"
        "df = op_library.approx_conv2d_backprop_filter(x, [1, 1, 1, 1], dy, "
        "[1, 1, 1, 1], 'VALID', k=1, scale=1.0)\n"
        "print('dF =', float(df[0, 0, 0, 0]))\n"
    )
    return subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=package / "gradients",
        capture_output=True,
        text=True,
        check=False,
    )


def replace_version(version: str) -> Callable[[Path], None]:
    def edit(package: Path) -> None:
        path = package / BUILD_INFO
        info = json.loads(path.read_text())
        path.write_text(json.dumps(info | {"tensorflow": version}))

    return edit


def rename_an_imported_symbol(package: Path) -> None:
    # What a library built for another TensorFlow looks like to the linker.
    path = package / LIBRARY
    content = path.read_bytes()
    renamed = content.replace(b"_ZN10tensorflow8OpKernel", b"_ZN10tensorflow8OpKerneX")
    assert renamed != content
    path.write_bytes(renamed)


def assert_one_sentence_says_what_to_do(message: str) -> None:
    assert message.endswith(".")
    assert not re.search(r"[.!?]\s|\n", message), message
    assert message.startswith("tf_approxgrad's compiled op")
    assert "`make`" in message
    assert "`pip install --no-build-isolation" in message


DAMAGES = {
    "no library": (lambda p: (p / LIBRARY).unlink(), f"{LIBRARY} does not exist"),
    "no build info": (
        lambda p: (p / BUILD_INFO).unlink(),
        f"{BUILD_INFO} does not exist",
    ),
    "older minor version": (
        replace_version(f"{MAJOR}.{int(MINOR) - 1}.3"),
        rf"built for TensorFlow {MAJOR}\.{int(MINOR) - 1}\.3, but "
        rf"TensorFlow {re.escape(tf.version.VERSION)} is running",
    ),
    "newer minor version": (
        # As text, 2.210 begins like 2.21.
        replace_version(f"{MAJOR}.{MINOR}0.0"),
        rf"built for TensorFlow {MAJOR}\.{MINOR}0\.0, but TensorFlow {MAJOR}\.{MINOR}",
    ),
    "other major version": (
        replace_version(f"{int(MAJOR) + 1}.{MINOR}.0"),
        rf"built for TensorFlow {int(MAJOR) + 1}\.{MINOR}\.0",
    ),
    "undefined symbol": (
        rename_an_imported_symbol,
        f"{LIBRARY} does not load into TensorFlow .*undefined symbol: _ZN10tensorflow",
    ),
    "empty library": (
        lambda p: (p / LIBRARY).write_bytes(b""),
        f"cut short: .*{LIBRARY} has 0 of",
    ),
    "part of a library": (
        lambda p: (p / LIBRARY).write_bytes((p / LIBRARY).read_bytes()[:9999]),
        f"cut short: .*{LIBRARY} has 9999 of",
    ),
    "text for a library": (
        lambda p: (p / LIBRARY).write_bytes(b"n" * (p / LIBRARY).stat().st_size),
        f"{LIBRARY} .*invalid ELF header",
    ),
    "empty build info": (lambda p: (p / BUILD_INFO).write_text(""), BUILD_INFO),
    "build info without version": (
        lambda p: (p / BUILD_INFO).write_text("{}"),
        BUILD_INFO,
    ),
    "build info that is a list": (
        lambda p: (p / BUILD_INFO).write_text("[1]"),
        BUILD_INFO,
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_package_says_what_to_do_and_changes_no_file(
    package: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(package)
    before = files(package)
    with pytest.raises(ImportError, match=message) as raised:
        load(package)
    assert_one_sentence_says_what_to_do(str(raised.value))
    assert files(package) == before


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.5, 0.01])
def test_library_cut_short_is_refused_instead_of_crashing(
    package: Path, part: float
) -> None:
    # A full disk or an interrupted copy leaves this; the dynamic linker trusts it.
    path = package / LIBRARY
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    before = files(package)
    result = load_in_another_process(package)
    assert result.returncode == 1, (result.returncode, result.stderr)
    kind, _, message = result.stderr.strip().splitlines()[-1].partition(": ")
    assert kind == "ImportError"
    assert_one_sentence_says_what_to_do(message)
    assert files(package) == before


def test_other_patch_release_of_the_same_minor_version_is_accepted(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_version(f"{MAJOR}.{MINOR}.99")(package)
    # This process has the ops already, and TensorFlow wouldn't take them again.
    monkeypatch.setattr(tf, "load_op_library", lambda path: path)
    assert op_library._load(package / LIBRARY) == str(package / LIBRARY)


@pytest.mark.slow
def test_other_patch_release_of_the_same_minor_version_loads_and_computes(
    package: Path,
) -> None:
    replace_version(f"{MAJOR}.{MINOR}.99")(package)
    before = files(package)
    result = load_in_another_process(package)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("dF = 10.0")
    assert files(package) == before
