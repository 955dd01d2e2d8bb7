"""CUDA in a build: what is compiled for which GPUs, and what is refused."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from small_checkout import LIBRARY, SOURCES, build, compiled, objects

# As CMake looks for it, but for pip's packages.
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


@pytest.fixture
def nvcc(tmp_path: Path) -> str:
    """What answers as nvcc does where a build asks for the GPUs that it knows."""
    path = tmp_path / "bin" / "nvcc"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\necho compute_75\necho compute_80\n")
    path.chmod(0o755)
    return str(path)


def flattened(text: str) -> str:
    """CMake breaks lines at spaces."""
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"TF_APPROXGRAD_CUDA": "yes"},
            "TF_APPROXGRAD_CUDA is 'yes', but it must be 0 (CPU alone), 1 (with the "
            "GPU's kernels), or unset",
        ),
        (
            {"TF_APPROXGRAD_CUDA": "1", "TF_APPROXGRAD_CUDA_ARCHS": "80,42"},
            "TF_APPROXGRAD_CUDA_ARCHS names '42', but NVCC knows 75, 80",
        ),
        (
            {"TF_APPROXGRAD_CUDA": "", "CUDACXX": "/nonexistent/nvcc"},
            "no nvcc was found (looked at /nonexistent/nvcc); install the CUDA toolkit",
        ),
        pytest.param(
            {"TF_APPROXGRAD_CUDA": "1", "CUDACXX": "", "CUDA_HOME": "/nonexistent"},
            "no nvcc was found (looked at /nonexistent)",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_build_refuses_wishes_for_cuda_that_cannot_be_met(
    checkout: Path, nvcc: str, environment: dict[str, str], message: str
) -> None:
    result = build(checkout, **{"CUDACXX": nvcc} | environment)
    assert result.returncode != 0
    said = flattened(result.stdout)
    assert f"tf_approxgrad: {message.replace('NVCC', nvcc)}" in said
    assert not list((checkout / "tf_approxgrad").glob("op_libraries/*"))


def test_build_without_nvcc_says_so_and_makes_the_cpu_part(checkout: Path) -> None:
    missing = {"TF_APPROXGRAD_CUDA": "", "CUDA_HOME": str(checkout.parent)}
    result = build(checkout, **missing)
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("tf_approxgrad: ") == 1
    assert "tf_approxgrad: no nvcc was found" in result.stdout
    assert (checkout / "tf_approxgrad" / LIBRARY).exists()


@pytest.mark.slow
@pytest.mark.skipif(NVCC is None, reason="nvcc isn't installed")
def test_build_with_nvcc_holds_gpu_kernels_and_their_runtime(
    checkout: Path,
) -> None:
    wish = {"TF_APPROXGRAD_CUDA": "1", "TF_APPROXGRAD_CUDA_ARCHS": "90 80"}
    result = build(checkout, **wish)
    assert result.returncode == 0, result.stdout
    assert objects(checkout).keys() == {*SOURCES} - {"cc/common/size.h"}
    library = checkout / "tf_approxgrad" / LIBRARY
    record = json.loads(library.with_suffix(".json").read_text())
    assert record["cuda_archs"] == ["80", "90"]
    # A TensorFlow with stubs of CUDA's runtime must neither give nor get its functions.
    listed = ["nm", "--dynamic", library]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    assert "Start" in names
    assert not re.search(r"\bcuda[A-Z]", names)
    commands = json.loads((checkout / "build/op/compile_commands.json").read_text())
    (command,) = (item["command"] for item in commands if item["file"].endswith(".cu"))
    assert sorted(re.findall(r",code=\[?(\w+)", command)) == [
        "compute_90",
        "sm_80",
        "sm_90",
    ]
    before = objects(checkout)
    assert build(checkout, **wish).returncode == 0
    assert compiled(checkout, before) == set()
    # What the CPU's part shares with it isn't compiled again either.
    assert build(checkout, TF_APPROXGRAD_CUDA="0").returncode == 0
    assert compiled(checkout, before) == set()
