"""Tests of the scripts that find CUDA and watch what its kernels take."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "cc" / "cuda_resources.py"
FINDER = ROOT / "cc" / "find_cuda.sh"

# As nvcc 13.0 writes it.
PTXAS = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z4FirstIfEvPT_' for 'sm_90'
ptxas info    : Function properties for _Z4FirstIfEvPT_
    48 bytes stack frame, 40 bytes spill stores, 44 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 8704 bytes smem
ptxas info    : Compile time = 31.091 ms
ptxas info    : Compiling entry function '_Z4FirstIfEvPT_' for 'sm_75'
ptxas info    : Function properties for _Z4FirstIfEvPT_
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 64 registers, 400 bytes cmem[0]
ptxas info    : Compiling entry function '_Z6Secondv' for 'sm_90'
ptxas info    : Function properties for _Z6Secondv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers, used 1 barriers
"""


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def uses(script: dict[str, Any]) -> Any:
    return script["parse_ptxas"](PTXAS)


def with_use(uses: Any, name: str, arch: str, **changes: int) -> Any:
    changed = {kernel: dict(archs) for kernel, archs in uses.items()}
    changed[name][arch] = changed[name][arch]._replace(**changes)
    return changed


def test_what_ptxas_says_is_read(uses: Any) -> None:
    assert uses == {
        "_Z4FirstIfEvPT_": {"90": (255, 84, 48), "75": (64, 0, 0)},
        "_Z6Secondv": {"90": (24, 0, 0)},
    }


def test_a_list_is_read_as_it_was_written(script: dict[str, Any], uses: Any) -> None:
    text = script["to_text"](uses, "nvcc release 13.0, V13.0.88")
    assert script["from_text"](text) == (uses, "nvcc release 13.0, V13.0.88")


def test_a_damaged_list_is_refused(script: dict[str, Any], uses: Any) -> None:
    text = script["to_text"](uses, "nvcc").replace("255+84s+48f", "255+84x+48f")
    with pytest.raises(ValueError, match=r"'255\+84x\+48f' isn't what a kernel takes"):
        script["from_text"](text)


# One kernel, as nvcc calls it for two GPUs.
MANGLED = [
    f"_ZN13tf_approxgrad{len(space)}{space}12SelectPlanesIfLi4EEEvxxiPKT_Pf"
    for space in ("_GLOBAL__N__1a2b_12_select_cu", "_GLOBAL__N__3c4d_12_select_cu")
]


def test_a_kernel_is_joined_under_its_name_in_the_sources(
    script: dict[str, Any],
) -> None:
    uses = {MANGLED[0]: {"80": (40, 0, 0)}, MANGLED[1]: {"90": (48, 0, 0)}}
    assert script["by_short_names"](uses) == {
        "SelectPlanes<float, 4>": {"80": (40, 0, 0), "90": (48, 0, 0)}
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"registers": 29}, "takes 29 registers, not 24"),
        ({"spilled": 8}, "spills 8 bytes, not 0"),
        ({"stack": 16}, "has a stack of 16 bytes, not 0"),
    ],
)
def test_a_kernel_that_takes_more_is_noticed(
    script: dict[str, Any], uses: Any, changes: dict[str, int], message: str
) -> None:
    worse = with_use(uses, "_Z6Secondv", "90", **changes)
    assert script["problems"](uses, worse, same_nvcc=True) == [
        f"_Z6Secondv on sm_90 {message}"
    ]


def test_less_and_a_few_registers_more_are_well(
    script: dict[str, Any], uses: Any
) -> None:
    better = with_use(uses, "_Z4FirstIfEvPT_", "90", registers=200, spilled=0, stack=0)
    better = with_use(better, "_Z6Secondv", "90", registers=28)
    assert script["problems"](uses, better, same_nvcc=True) == []


def test_another_nvcc_may_use_other_registers_but_not_spill(
    script: dict[str, Any], uses: Any
) -> None:
    other = with_use(uses, "_Z6Secondv", "90", registers=99)
    assert script["problems"](uses, other, same_nvcc=False) == []
    other = with_use(other, "_Z6Secondv", "90", spilled=4)
    assert len(script["problems"](uses, other, same_nvcc=False)) == 1


def test_new_and_lost_kernels_are_noticed(script: dict[str, Any], uses: Any) -> None:
    other = dict(uses)
    other["_Z5Thirdv"] = other.pop("_Z6Secondv")
    assert script["problems"](uses, other, same_nvcc=True) == [
        "_Z5Thirdv isn't in the list",
        "_Z6Secondv is in the list, but is no kernel any more",
    ]


def test_the_committed_list_has_every_gpu_and_few_spills(
    script: dict[str, Any],
) -> None:
    # Of 72 sums in float32 and vectors of 16 bits. CUDA_NOTES.md says so.
    spilling = "AccumulatePatches<Half, CudaInput 0, 8, 9>"
    listed, nvcc = script["from_text"](script["LISTED"].read_text())
    assert nvcc.startswith("nvcc release")
    assert len(listed) > 0
    for name, archs in listed.items():
        assert set(archs) == set(script["ARCHS"]), name
        most = 120 if name == spilling else 0
        assert all(use.spilled <= most for use in archs.values()), name


def run(*command: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("CUDACXX", "CUDA_PATH")}
    return subprocess.run(
        [str(part) for part in command],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_nvcc_the_check_says_so_and_is_content() -> None:
    result = run(sys.executable, SCRIPT, "check", CUDA_HOME="/nowhere")
    assert result.returncode == 0
    assert result.stdout == (
        "The CUDA kernels were not compiled. There is no /nowhere/bin/nvcc.\n"
    )


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    """A CUDA toolkit whose nvcc only tells its folder, and which finds no GPU."""
    (tmp_path / "bin").mkdir()
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho '#$ _HERE_={tmp_path}/bin' >&2\n")
    query = tmp_path / "bin" / "__nvcc_device_query"
    query.write_text("#!/bin/sh\nexit 1\n")
    nvcc.chmod(0o755)
    query.chmod(0o755)
    return tmp_path


def test_a_named_toolkit_is_found(toolkit: Path) -> None:
    result = run(FINDER, "nvcc", CUDA_HOME=str(toolkit))
    assert (result.returncode, result.stdout) == (0, f"{toolkit}/bin/nvcc\n")


def test_no_gpu_is_said_in_a_sentence(toolkit: Path) -> None:
    # No driver's tool on PATH either.
    result = run(FINDER, "gpu", CUDA_HOME=str(toolkit), PATH="/usr/bin:/bin")
    if result.returncode == 0:
        pytest.skip("the driver's own tool in /usr/bin sees a GPU")
    assert result.returncode == 2
    assert result.stderr == "No GPU is here that CUDA can use: nothing was run.\n"


def test_a_gpu_is_found_by_nvcc_s_own_query(toolkit: Path) -> None:
    query = toolkit / "bin" / "__nvcc_device_query"
    query.write_text("#!/bin/sh\necho 90\n")
    result = run(FINDER, "gpu", CUDA_HOME=str(toolkit))
    assert (result.returncode, result.stdout) == (0, "90\n")


def test_a_named_cudnn_is_found_and_its_lack_said(toolkit: Path) -> None:
    home = toolkit / "cudnn"
    result = run(FINDER, "cudnn", CUDA_HOME=str(toolkit), CUDNN_HOME=str(home))
    assert result.returncode == 1
    assert result.stderr.startswith("No cuDNN 9 (cudnn.h and libcudnn.so.9) was found")
    for name in ("include/cudnn.h", "lib/libcudnn.so.9"):
        (home / name).parent.mkdir(parents=True)
        (home / name).touch()
    result = run(FINDER, "cudnn", CUDA_HOME=str(toolkit), CUDNN_HOME=str(home))
    assert result.returncode == 0
    assert result.stdout.split()[:3] == [
        f"-I{home}/include",
        f"-L{home}/lib",
        "-l:libcudnn.so.9",
    ]
