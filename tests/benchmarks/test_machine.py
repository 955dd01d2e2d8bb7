"""The machine's limits: what they are measured with counts what it says."""

import platform
import re
import subprocess

import pytest

from benchmarks import machine

MULTIPLY_ADD = re.compile(r"\t(?:vfmadd\w+ps|mulps|fmla)\s")
SOURCE_SUMS = 12


def multiply_adds_by_function(assembly):
    """Counts packed multiply-adds in each loop of machine_limits.cc."""
    counts = {}
    name = None
    for line in assembly.splitlines():
        label = re.match(r"([\w.$]+):", line)
        if label and not label[1].startswith("."):
            name = re.search(r"MultiplyAdds\D+?\d*(?=E)", label[1])
        elif name and MULTIPLY_ADD.match(line):
            counts[name[0]] = counts.get(name[0], 0) + 1
    return counts


def test_compiler_merges_no_sums_of_the_multiply_add_loops(tmp_path):
    # One sum that counts as twelve shows a peak that no machine has.
    command = [
        part
        for part in machine.compile_command()
        if not part.endswith("instruction_set.cc")
    ]
    target = tmp_path / "machine_limits.s"
    subprocess.run([*command, "-S", "-o", str(target)], check=True)
    counts = multiply_adds_by_function(target.read_text())
    sets = {"Baseline", "Avx2", "Avx512"} if platform.machine() == "x86_64" else set()
    assert counts.keys() >= {f"MultiplyAdds{name}" for name in sets | {"Baseline"}}
    assert min(counts.values()) >= SOURCE_SUMS, counts


@pytest.mark.slow
def test_limits_of_this_machine_are_measured():
    found = machine.measure_machine(1)
    assert found.threads == 1
    assert found.bytes_per_second > 1e8
    assert found.multiply_adds_per_second > 1e8
