"""setup.py with CUDA: what nvcc compiles, for which GPUs, and what is refused."""

import re
import shlex
from pathlib import Path

import pytest
from building import (
    FAKE_COMPILER,
    Builder,
    build,
    sources_of,
    times,
    write_program,
)

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
