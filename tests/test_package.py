"""The package as pip installs it: its names, files and metadata.

The slow tests share one copy of the checkout that is compiled once, by pip.
"""

import email
import importlib.metadata
import inspect
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from building import BUILD_INFO, LIBRARY, ROOT, Times, build, changed, run, times

import tf_approxgrad as tfag

# Section 4 of the design.
PUBLIC_NAMES = re.findall(
    r"\w+",
    """
    FullGradient ZeroGradient RandomGradient MaxGradient SampledGradient
    conv2d conv2d_backprop_filter
    Schedule EveryNthLayer Alternate EveryNthStep TableSchedule Constant ApproxConv2D
    approximate_gradients ApproximationCallback bind_step conversion_report
    strip_approximation models
    """,
)
METHOD_NAMES = ["preview", "plot", "fraction"]


@pytest.mark.parametrize("name", tfag.__all__)
def test_every_exported_name_exists_and_is_documented(name: str) -> None:
    value = getattr(tfag, name)
    # Not inspect.getdoc, which takes the base class's text for a class without one.
    assert (value.__doc__ or "").strip()
    # A dataclass without a docstring gets its signature for one.
    assert not value.__doc__.startswith(f"{name}(")


def test_all_lists_each_name_once_and_in_order() -> None:
    assert tfag.__all__ == sorted(set(tfag.__all__))


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_names_of_the_design_are_exported(name: str) -> None:
    assert name in tfag.__all__


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_schedules_have_the_methods_of_the_design(name: str) -> None:
    assert inspect.getdoc(getattr(tfag.Schedule, name))


@pytest.mark.parametrize("name", ["cnn2", "resnet", "vgg19"])
def test_the_networks_of_the_paper_are_exported(name: str) -> None:
    assert name in tfag.models.__all__
    assert inspect.getdoc(getattr(tfag.models, name))


def test_version_is_that_of_pyproject_toml() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.+)"$', text, re.MULTILINE)[1] == tfag.__version__


def copy_checkout(target: Path) -> Path:
    """Copies what a clone has, and no build's output; times stay as they are."""
    lines = (ROOT / ".gitignore").read_text().split()
    ignored = [Path(line).name for line in lines]
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".git", *ignored))
    assert not [*target.rglob("*.so"), *target.rglob("*.o")]
    return target


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, its path with a space; `installed` builds in it."""
    return copy_checkout(tmp_path_factory.mktemp("with space") / "check out")


@pytest.fixture(scope="session")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `pip install` put the package into, compiled from `checkout`."""
    target = tmp_path_factory.mktemp("installed") / "site packages"
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--target", target)
    result = run(sys.executable, "-m", "pip", "install", *options, ".", cwd=checkout)
    assert result.returncode == 0, result.stdout
    return target


@pytest.fixture
def built(checkout: Path, installed: Path) -> Path:
    """The checkout that `installed` comes from, with all that its build left."""
    assert changed(build_output(checkout), {}), "pip has built somewhere else"
    return checkout


def build_output(checkout: Path) -> Times:
    patterns = ("*.o", "*.so", "*.json")
    return {
        name: time
        for pattern in patterns
        for name, time in times(checkout / "build", pattern).items()
    }


def recompiled(before: Times, after: Times) -> set[str]:
    """The sources whose objects are new."""
    names = (Path(name) for name in changed(before, after) if name.endswith(".o"))
    return {name.relative_to("cc").with_suffix(".cc").as_posix() for name in names}


def includes(checkout: Path, source: str) -> set[str]:
    """The project's headers that a source includes, and what those include."""
    found, wanted = set(), [source]
    while wanted:
        text = (checkout / wanted.pop()).read_text()
        new = set(re.findall(r'^#include "(cc/.+)"$', text, re.MULTILINE)) - found
        found |= new
        wanted += new
    return found


@pytest.mark.slow
def test_installed_package_trains_from_another_folder(
    installed: Path, tmp_path: Path
) -> None:
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
    result = run(sys.executable, program, cwd=tmp_path, PYTHONPATH=str(installed))
    assert result.returncode == 0, result.stdout
    *_, file, losses = result.stdout.splitlines()
    assert Path(file) == installed / "tf_approxgrad" / "__init__.py"
    first, *_, last = map(float, losses.split())
    assert last < 0.8 * first


@pytest.mark.slow
def test_installed_package_is_complete_and_holds_nothing_else(
    checkout: Path, installed: Path
) -> None:
    package = installed / "tf_approxgrad"
    names = {
        path.relative_to(checkout).as_posix() for path in checkout.glob("tf_*/**/*.py")
    }
    names |= {f"tf_approxgrad/{name}" for name in ("py.typed", LIBRARY, BUILD_INFO)}
    actual = {
        path.relative_to(installed).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert actual == names
    folders = {path.name for path in installed.iterdir()}
    assert folders == {"tf_approxgrad", f"tf_approxgrad-{tfag.__version__}.dist-info"}
    recorded = json.loads((package / BUILD_INFO).read_text())
    assert recorded["tensorflow"] == tf.version.VERSION


@pytest.mark.slow
def test_metadata_names_the_installed_tensorflow_and_its_minor_version(
    installed: Path,
) -> None:
    (path,) = installed.glob("tf_approxgrad-*.dist-info/METADATA")
    metadata = email.message_from_string(path.read_text())
    required = [
        re.match(r"([\w-]+)(.*)", line).groups()
        for line in metadata.get_all("Requires-Dist")
        if "extra ==" not in line
    ]
    versions = {name.replace("_", "-").lower(): rest for name, rest in required}
    (name, *_) = importlib.metadata.packages_distributions()["tensorflow"]
    version = importlib.metadata.version(name)
    name = name.replace("_", "-").lower()
    assert versions.keys() == {"numpy", name}
    major, minor, patch = version.split(".", 2)
    minor_only = f"=={major}.{minor}.*" if patch.isdigit() else f"=={version}"
    assert versions[name].strip(" ()") == minor_only


@pytest.mark.slow
def test_second_build_changes_no_file(built: Path) -> None:
    before = build_output(built)
    assert build(built).returncode == 0
    assert changed(before, build_output(built)) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cc/kernels/geometry.cc", "cc/ops/conv_attributes.h"])
def test_touched_file_recompiles_what_includes_it_and_nothing_else(
    built: Path, name: str
) -> None:
    # The checkout is built without CUDA.
    sources = [
        path.relative_to(built).as_posix()
        for path in built.glob("cc/[ok]*/*.cc")
        if not path.name.endswith("_gpu_kernel.cc")
    ]
    users = {source for source in sources if name in {source, *includes(built, source)}}
    assert set() < users < set(sources)
    before = build_output(built)
    (built / name).touch()
    result = build(built)
    assert result.returncode == 0, result.stdout
    after = build_output(built)
    assert recompiled(before, after) == users
    assert {Path(path).name for path in changed(before, after)} >= {LIBRARY}


@pytest.mark.slow
def test_error_in_a_source_names_it_and_keeps_the_last_library(built: Path) -> None:
    before = times(built / "build", "_op_library.*")
    path = built / "cc/kernels/geometry.cc"
    text = path.read_text()
    path.write_text(text + "this is no C++;\n")
    result = build(built)
    path.write_text(text)
    assert result.returncode != 0
    last = result.stdout.splitlines()[-1]
    assert last.startswith("tf_approxgrad: the command above failed")
    assert "cc/kernels/geometry" in last
    assert times(built / "build", "_op_library.*") == before
    objects = build_output(built)
    assert build(built).returncode == 0
    assert recompiled(objects, build_output(built)) == {"cc/kernels/geometry.cc"}
