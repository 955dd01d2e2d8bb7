"""What pip installs: files, metadata, and that they work elsewhere."""

import email
import json
import re
import shutil
import sys
import tarfile
from pathlib import Path

import pytest
from small_checkout import LIBRARY, RECORD, ROOT, SOURCES, run

import tf_approxgrad as tfag
from tf_approxgrad.gradients import op_library


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """A folder that `pip install` put the package into."""
    target = built.parent / "site packages"
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--target", target)
    command = (sys.executable, "-m", "pip", "install", *options, ".")
    result = run(*command, cwd=built, PYTHONPATH=str(built.parent / "site"))
    assert result.returncode == 0, result.stdout
    return target


def test_installed_package_is_complete_and_holds_nothing_else(installed: Path) -> None:
    names = {path.relative_to(ROOT) for path in ROOT.glob("tf_approxgrad/**/*.py")}
    names |= {Path("tf_approxgrad", name) for name in ("py.typed", LIBRARY, RECORD)}
    actual = {
        path.relative_to(installed)
        for path in installed.glob("tf_approxgrad/**/*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert actual == names
    folders = {path.name.split("-")[0] for path in installed.iterdir()}
    assert folders == {"tf_approxgrad"}
    library = installed / "tf_approxgrad" / LIBRARY
    recorded = json.loads(library.with_suffix(".json").read_text())
    assert recorded["tensorflow"] == "2.21.0"
    assert recorded["bytes"] == library.stat().st_size


def test_metadata_leaves_tensorflow_to_the_user(installed: Path) -> None:
    # It has several distributions, and pip would install one beside another.
    (path,) = installed.glob("tf_approxgrad-*.dist-info/METADATA")
    metadata = email.message_from_string(path.read_text())
    required = [x for x in metadata.get_all("Requires-Dist") if "extra ==" not in x]
    assert {re.match(r"[\w-]+", line)[0] for line in required} == {"keras", "numpy"}
    assert metadata["Version"] == tfag.__version__


def test_wheel_is_for_every_python_3(installed: Path) -> None:
    (path,) = installed.glob("tf_approxgrad-*.dist-info/WHEEL")
    tag = email.message_from_string(path.read_text())["Tag"]
    assert tag.startswith("py3-none-linux_")


def test_source_distribution_holds_what_a_build_reads(built: Path) -> None:
    command = (sys.executable, "setup.py", "sdist")
    result = run(*command, cwd=built, PYTHONPATH=str(built.parent / "site"))
    assert result.returncode == 0, result.stdout
    (archive,) = (built / "dist").iterdir()
    with tarfile.open(archive) as opened:
        names = {name.split("/", 1)[1] for name in opened.getnames() if "/" in name}
    assert names >= {*SOURCES, "CMakeLists.txt", "setup.py", "tf_approxgrad/py.typed"}
    assert names >= {f"cmake/{path.name}" for path in (ROOT / "cmake").iterdir()}


@pytest.mark.slow
def test_installed_package_trains_from_another_folder(
    installed: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "installed"
    shutil.copytree(installed, copy)
    # This checkout's library in place of the small one.
    theirs = copy / "tf_approxgrad" / "op_libraries"
    shutil.rmtree(theirs)
    shutil.copytree(op_library.LIBRARY.parent, theirs)
    program = tmp_path / "program.py"
    program.write_text(
        "import keras, numpy as np, tf_approxgrad as tfag\n"
        "keras.utils.set_random_seed(0)\n"
        "model = tfag.models.cnn2(input_shape=(8, 8, 1), classes=2, width=0.1)\n"
        "model = tfag.approximate_gradients(model, tfag.Alternate('max'))\n"
        "model.compile('adam', keras.losses.SparseCategoricalCrossentropy(True))\n"
        "y = np.arange(64) % 2\n"
        "x = np.random.normal(size=(64, 8, 8, 1)) + y[:, None, None, None]\n"
        "done = model.fit(x, y, epochs=8, batch_size=16, verbose=0,\n"
        "                 callbacks=[tfag.ApproximationCallback()])\n"
        "print(tfag.__file__)\n"
        "print(*done.history['loss'])\n"
    )
    result = run(sys.executable, program, cwd=tmp_path, PYTHONPATH=str(copy))
    assert result.returncode == 0, result.stdout
    *_, file, losses = result.stdout.splitlines()
    assert Path(file) == copy / "tf_approxgrad" / "__init__.py"
    first, *_, last = map(float, losses.split())
    assert last < 0.8 * first
