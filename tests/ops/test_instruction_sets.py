"""The environment variable that chooses the processor's instructions."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import hashlib
import tensorflow as tf
import tf_approxgrad as tfag
draw = lambda seed: tf.random.stateless_normal([8, 9, 9, 20], [seed, 0])
gradient = tfag.conv2d_backprop_filter(
    draw(1), [3, 3, 20, 20], draw(2), 1, "SAME", method="max")
print(hashlib.md5(gradient.numpy().tobytes()).hexdigest())
"""


def gradient_with(instruction_set: str | None) -> tuple[str, str]:
    """A digest of the bits of a gradient, and what went to standard error."""
    environment = dict(os.environ)
    environment.pop("TF_APPROXGRAD_INSTRUCTION_SET", None)
    if instruction_set is not None:
        environment["TF_APPROXGRAD_INSTRUCTION_SET"] = instruction_set
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout.split()[-1], finished.stderr


def has_fused_multiply_add() -> bool:
    information = Path("/proc/cpuinfo")
    return (
        platform.machine() == "x86_64"
        and information.exists()
        and {"avx2", "fma"} <= set(information.read_text().split())
    )


@pytest.mark.slow
@pytest.mark.skipif(
    not has_fused_multiply_add(), reason="this processor has one instruction set"
)
def test_the_variable_reaches_the_kernels():
    # Without a fused multiply-add every product is rounded as well.
    baseline, _ = gradient_with("baseline")
    widest, said = gradient_with(None)
    assert baseline != widest
    assert "TF_APPROXGRAD_INSTRUCTION_SET" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["avx", "AVX2", ""])
def test_an_unknown_name_is_told_and_the_widest_set_used(name):
    bits, said = gradient_with(name)
    assert f'TF_APPROXGRAD_INSTRUCTION_SET is "{name}"' in said
    assert "baseline, or avx2 or avx512" in said
    assert bits == gradient_with(None)[0]
