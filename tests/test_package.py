"""Installing: setup.py with pip, the Makefile's set-up, and what the package exports.

The slow tests share one copy of the checkout that is compiled once, by pip.
"""

import email
import importlib.metadata
import inspect
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import setuptools
import tensorflow as tf

import tf_approxgrad as tfag

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


# --- Names ---------------------------------------------------------------------------

# Section 4 of the design, without the row-sampled method, which comes later.
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


# --- make ----------------------------------------------------------------------------


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


# --- setup.py ------------------------------------------------------------------------


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
# nvcc answers on either stream.
FAKE_NVCC = """
import sys
ANSWERS = {
    "--list-gpu-arch": "compute_75 compute_80 compute_90 compute_100",
    "--version": "a stand-in",
    "--dryrun": "_HERE_=" + HERE,
}
for question in ANSWERS.keys() & set(sys.argv):
    print(ANSWERS[question])
    print(ANSWERS[question], file=sys.stderr)
    sys.exit()
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


def test_another_tensorflow_in_the_same_place_recompiles_everything(
    set_up: Path, fake_build: Builder
) -> None:
    sources = sources_of(set_up, "cc/ops/*.cc", "cc/kernels/*.cc")
    assert fake_build("2.20.0")[0] == sources
    assert fake_build("2.20.0")[0] == set()
    # Otherwise the old objects would be linked and recorded as made for the new one.
    assert fake_build("2.21.0")[0] == sources


# --- CUDA ----------------------------------------------------------------------------


@pytest.fixture
def toolkit(tmp_path: Path) -> dict[str, str]:
    """An environment that names a CUDA toolkit of stand-ins."""
    root = tmp_path / "cuda toolkit"
    for name in ("bin", "include", "lib"):
        (root / name).mkdir(parents=True)
    (root / "include" / "cuda_runtime.h").touch()
    (root / "lib" / "libcudart_static.a").touch()
    code = (
        f"HERE = {str(root / 'bin')!r}\nLOG = {str(tmp_path / 'log')!r}\n"
        f"{FAKE_NVCC}{FAKE_COMPILER.replace('COLON', ' :')}"
    )
    nvcc = write_program(root / "bin" / "nvcc", code)
    return {"TF_APPROXGRAD_CUDA": "1", "CUDACXX": str(nvcc)}


def test_build_with_nvcc_compiles_the_gpu_kernels_once(
    set_up: Path, fake_build: Builder, toolkit: dict[str, str]
) -> None:
    sources = sources_of(set_up, "cc/ops/*.cc", "cc/kernels/*.cc", "cc/kernels/*.cu")
    assert any(name.endswith(".cu") for name in sources)
    assert fake_build("2.21.0", **toolkit)[0] == sources
    assert fake_build("2.21.0", **toolkit)[0] == set()
    # Without the GPU's part, its OpKernels alone are other files.
    compiled, _ = fake_build("2.21.0", TF_APPROXGRAD_CUDA="0")
    assert compiled == sources_of(set_up, "cc/kernels/*_gpu_kernel.cc")


def test_cuda_runtime_is_linked_before_tensorflow(
    fake_build: Builder, toolkit: dict[str, str]
) -> None:
    _, output = fake_build("2.21.0", **toolkit)
    (link,) = (line for line in output.splitlines() if " -shared " in line)
    words = shlex.split(link)
    assert words.index("-l:libcudart_static.a") < words.index("-lframework")
    _, output = fake_build("2.21.0", TF_APPROXGRAD_CUDA="0")
    assert "libcudart" not in output


@pytest.mark.parametrize(
    ("archs", "machine_code", "ptx"),
    [
        ("", ["75", "80", "90", "100"], "100"),
        ("80", ["80"], "80"),
        ("90;75", ["90", "75"], "90"),
    ],
)
def test_targets_are_those_asked_for_and_ptx_of_the_newest(
    fake_build: Builder,
    toolkit: dict[str, str],
    archs: str,
    machine_code: list[str],
    ptx: str,
) -> None:
    _, output = fake_build("2.21.0", TF_APPROXGRAD_CUDA_ARCHS=archs, **toolkit)
    commands = [line for line in output.splitlines() if "-gencode" in line]
    assert commands
    for line in commands:
        assert re.findall(r"code=sm_(\w+)", line) == machine_code
        assert re.findall(r"code=compute_(\w+)", line) == [ptx]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"TF_APPROXGRAD_CUDA": "yes"},
            "TF_APPROXGRAD_CUDA is 'yes', but it must be 0",
        ),
        ({"TF_APPROXGRAD_CUDA_ARCHS": "80,42"}, "names '42', but .* knows 75, 80"),
        ({"CUDACXX": "/nonexistent/nvcc"}, "no nvcc .* at /nonexistent/nvcc"),
    ],
)
def test_build_refuses_wishes_for_cuda_that_cannot_be_met(
    set_up: Path,
    toolkit: dict[str, str],
    environment: dict[str, str],
    message: str,
) -> None:
    before = times(set_up, "*.*")
    result = build(set_up, **toolkit | environment)
    assert result.returncode != 0
    assert re.search(f"tf_approxgrad: .*{message}", result.stdout.splitlines()[-1])
    assert times(set_up, "*.*") == before


def test_nvcc_without_its_runtime_is_refused_in_words(
    set_up: Path, toolkit: dict[str, str]
) -> None:
    (Path(toolkit["CUDACXX"]).parents[1] / "lib" / "libcudart_static.a").unlink()
    result = build(set_up, **toolkit)
    assert result.returncode != 0
    last = result.stdout.splitlines()[-1]
    assert "cuda_runtime.h and libcudart_static.a" in last
    assert "set TF_APPROXGRAD_CUDA=0" in last


def test_build_without_nvcc_says_so_in_one_line_and_makes_the_cpu_part(
    set_up: Path, fake_build: Builder, tmp_path: Path
) -> None:
    missing = {"TF_APPROXGRAD_CUDA": "", "CUDACXX": "", "CUDA_HOME": str(tmp_path)}
    compiled, output = fake_build("2.21.0", **missing)
    assert compiled == sources_of(set_up, "cc/ops/*.cc", "cc/kernels/*.cc")
    said = [line for line in output.splitlines() if line.startswith("tf_approxgrad: ")]
    assert said == [
        "tf_approxgrad: no nvcc was found, so the op is built for the CPU alone"
    ]


# --- A whole build -------------------------------------------------------------------


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
