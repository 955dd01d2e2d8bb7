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

MAJOR, MINOR, *_ = tf.version.VERSION.split(".")
LIBRARY = f"tensorflow_{MAJOR}_{MINOR}.so"
RECORD = f"tensorflow_{MAJOR}_{MINOR}.json"
FILES = (LIBRARY, RECORD)

Files = dict[str, tuple[bytes, int]]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the loader and an intact library, its path with a space."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = tmp_path / "site packages" / "tf_approxgrad"
    loader = Path(op_library.__file__)
    for name in (f"gradients/{loader.name}", *map("op_libraries/{}".format, FILES)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(loader.parents[1] / name, folder / name)
    return folder / "op_libraries"


def files(folder: Path) -> Files:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.parent.rglob("*")
        if path.is_file()
    }


def load(package: Path) -> ModuleType:
    copy = package.parent / "gradients" / "op_library.py"
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
        cwd=package.parent / "gradients",
        capture_output=True,
        text=True,
        check=False,
    )


def name_it_for(version: str) -> Callable[[Path], None]:
    """Makes the library one for another TensorFlow."""

    def edit(package: Path) -> None:
        for name in FILES:
            renamed = f"tensorflow_{version}{Path(name).suffix}"
            (package / name).rename(package / renamed)

    return edit


def record_version(version: str) -> Callable[[Path], None]:
    def edit(package: Path) -> None:
        path = package / RECORD
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
    assert message.startswith("tf_approxgrad's compiled ops")
    assert "build from source with `pip install " in message


OLDER = f"{MAJOR}.{int(MINOR) - 1}"
NEWER = f"{MAJOR}.{MINOR}0"
RUNNING = rf"but TensorFlow {re.escape(tf.version.VERSION)} is running"
DAMAGES = {
    "no library": (lambda p: (p / LIBRARY).unlink(), f"{LIBRARY} does not exist"),
    "no record": (lambda p: (p / RECORD).unlink(), f"{RECORD} does not exist"),
    "no folder": (shutil.rmtree, f"are for no TensorFlow, {RUNNING}"),
    "older minor version": (
        name_it_for(OLDER.replace(".", "_")),
        rf"are for TensorFlow {re.escape(OLDER)}, {RUNNING}",
    ),
    "newer minor version": (
        # As text, 2.210 begins like 2.21.
        name_it_for(NEWER.replace(".", "_")),
        rf"are for TensorFlow {re.escape(NEWER)}, {RUNNING}",
    ),
    "several minor versions": (
        lambda package: (
            name_it_for("2_9")(package),
            (package / "tensorflow_2_10.so").touch(),
        ),
        rf"are for TensorFlow 2\.9, 2\.10, {RUNNING}",
    ),
    "a candidate of this version": (
        record_version(f"{MAJOR}.{MINOR}.0-rc1"),
        rf"are for TensorFlow {MAJOR}\.{MINOR}\.0-rc1, {RUNNING}",
    ),
    "undefined symbol": (
        rename_an_imported_symbol,
        f"{LIBRARY} do not load into TensorFlow .*undefined symbol: _ZN10tensorflow",
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
    "empty record": (lambda p: (p / RECORD).write_text(""), RECORD),
    "record without a size": (
        lambda p: (p / RECORD).write_text("{}"),
        RECORD,
    ),
    "record that is a list": (
        lambda p: (p / RECORD).write_text("[1]"),
        RECORD,
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
    package: Path,
) -> None:
    record_version(f"{MAJOR}.{MINOR}.99")(package)
    library, record = op_library._find(package)
    assert library == package / LIBRARY
    assert record["tensorflow"] == f"{MAJOR}.{MINOR}.99"


@pytest.mark.slow
def test_other_patch_release_of_the_same_minor_version_loads_and_computes(
    package: Path,
) -> None:
    record_version(f"{MAJOR}.{MINOR}.99")(package)
    before = files(package)
    result = load_in_another_process(package)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("dF = 10.0")
    assert files(package) == before
