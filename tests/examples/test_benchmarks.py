"""What the benchmarks' figures rest on: the machine's limits, pairs and windows."""

import dataclasses
import math
import os
import platform
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import benchmark_filter_gradient
import benchmark_step
import benchmarking
import pytest
from absl import app
from benchmark_shapes import Shape
from benchmarking import Machine
from step_times import PairedTimes

MACHINE = Machine("a cpu", 2, "avx2", 1e9, 1e10, "2.21.0", "0.1.0")
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
        for part in benchmarking.compile_command()
        if not part.endswith("instruction_set.cc")
    ]
    target = tmp_path / "machine_limits.s"
    subprocess.run([*command, "-S", "-o", str(target)], check=True)
    counts = multiply_adds_by_function(target.read_text())
    sets = {"Baseline", "Avx2", "Avx512"} if platform.machine() == "x86_64" else set()
    assert counts.keys() >= {f"MultiplyAdds{name}" for name in sets | {"Baseline"}}
    assert min(counts.values()) >= SOURCE_SUMS, counts


FAKE_COMPILER = """#!/bin/sh
echo run >> {log}
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho "{{\\\\"threads\\\\": $1, \\\\"instruction_set\\\\": \
\\\\"avx2\\\\", \\\\"bytes_per_second\\\\": 2e9, \
\\\\"multiply_adds_per_second\\\\": 3e9}}"\\n' > "$2"
chmod +x "$2"
exit {status}
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with the sources' names, and a compiler that logs its runs."""

    def set_compiler(status):
        compiler = tmp_path / f"compiler{status}"
        compiler.write_text(FAKE_COMPILER.format(log=tmp_path / "log", status=status))
        compiler.chmod(0o755)
        monkeypatch.setenv("CXX", str(compiler))

    for name in ("benchmarks/machine_limits.cc", "kernels/instruction_set.cc"):
        path = tmp_path / "cc" / name
        path.parent.mkdir(parents=True)
        path.touch()
    (tmp_path / "cc/kernels/instruction_set.h").touch()
    monkeypatch.setattr(benchmarking, "ROOT", tmp_path)
    set_compiler(0)
    return SimpleNamespace(root=tmp_path, set_compiler=set_compiler)


def compiler_runs(root):
    return (root / "log").read_text().count("run")


def test_limits_are_compiled_again_only_for_newer_sources(checkout):
    machine = benchmarking.measure_machine(3)
    assert (machine.threads, machine.bytes_per_second) == (3, 2e9)
    benchmarking.measure_machine(1)
    assert compiler_runs(checkout.root) == 1
    program = checkout.root / "build/benchmarks/machine_limits"
    later = program.stat().st_mtime + 10
    os.utime(checkout.root / "cc/kernels/instruction_set.h", (later, later))
    benchmarking.measure_machine(1)
    assert compiler_runs(checkout.root) == 2


def test_program_of_a_failed_compiler_is_not_taken_for_finished(checkout):
    checkout.set_compiler(1)
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            benchmarking.measure_machine(1)
    assert compiler_runs(checkout.root) == 2


@pytest.mark.parametrize(
    ("chosen", "count"),
    [("all", 25), ("table1", 8), ("resnet50", 17), ("1x1", 9), ("512->512", 4)],
)
def test_shapes_are_chosen_by_group_or_text(chosen, count):
    assert len(benchmark_filter_gradient.choose_shapes(chosen)) == count


def test_shapes_that_are_nowhere_are_refused():
    with pytest.raises(app.UsageError, match="--shapes=9x9"):
        benchmark_filter_gradient.choose_shapes("9x9")


@pytest.mark.parametrize("program", [benchmark_filter_gradient, benchmark_step])
def test_csv_in_a_missing_folder_is_refused_before_any_measurement(
    program, tmp_path, monkeypatch
):
    target = str(tmp_path / "missing" / "rows.csv")
    flags = SimpleNamespace(
        csv=target, shapes="all", models=["cnn2"], schedules=["1"], threads=1
    )
    monkeypatch.setattr(program, "FLAGS", flags)
    with pytest.raises(app.UsageError, match="no such folder"):
        program.main(["program"])
    assert list(tmp_path.iterdir()) == []


def test_csv_beside_the_program_or_none_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (None, "rows.csv", str(tmp_path / "rows.csv")):
        benchmarking.check_csv(path)


def test_row_has_times_of_one_gradient_and_ratios_of_neighbours(monkeypatch):
    shape = Shape("small", 2, 3, 5, 4, stride=2)
    # Pairs, 4, 20 and 6, say another thing than medians, 0.32 over 0.04.
    seconds = {
        "dense": [0.16, 0.32, 0.48],
        "max": [0.04, 0.016, 0.08],
        "sampled": [0.08, 0.032, 0.16],
        "rows": [0.02, 0.08, 0.016],
        "random": [0.004] * 3,
        "zero": [0.002] * 3,
    }
    asked = []
    monkeypatch.setattr(
        benchmark_filter_gradient,
        "make_functions",
        lambda *arguments: asked.append(arguments),
    )
    monkeypatch.setattr(
        benchmark_filter_gradient, "time_in_turns", lambda *_: dict(seconds)
    )
    row = benchmark_filter_gradient.measure(shape, MACHINE, 1, "float32", "NCHW", 3)
    ((_, k, dtype, data_format, repeats),) = asked
    assert (k, dtype, data_format, repeats) == (1, "float32", "NCHW", 64)
    assert row.dense_ms == pytest.approx(1e3 * 0.32 / 64)
    assert row.max_ratio == pytest.approx(6.0)
    assert (row.sampled_ms, row.sampled_ratio) == pytest.approx((1.25, 3.0))
    assert row.rows_ratio == pytest.approx(8.0)
    assert row.zero_ratio == pytest.approx(160)
    bound_ms = 1e3 * shape.bound_seconds(1, 4, MACHINE)
    assert row.max_over_bound == pytest.approx(1e3 * 0.04 / 64 / bound_ms)


def test_group_line_has_geometric_means_and_the_worst():
    row = benchmark_filter_gradient.Row(
        *("g", "a", 8.0, 2.0, 4.0, 1.0, 2.0, 1.6, 5.0, 1.6, 5.0),
        *(0.8, 10.0, 0.4, 20.0, math.nan),
    )
    other = dataclasses.replace(
        row, max_ratio=16.0, sampled_ratio=1.25, rows_ratio=1.25, random_ratio=40.0
    )
    assert benchmark_filter_gradient.format_means("g", [row, other]) == (
        "g: geometric means max 8.0x, sampled 2.5x, rows 2.5x, random 20.0x, zero "
        "20.0x; worst max 4.0x, sampled 1.2x, rows 1.2x"
    )


def test_what_is_drawn_is_drawn_afresh_at_each_repeat():
    shape = Shape("small", 2, 3, 5, 4)
    made = benchmark_filter_gradient.make_functions(shape, 1, "float32", "NHWC", 3)
    for name in ("random", "sampled", "rows"):
        # One element of each gradient, which two draws may have in common.
        assert len({float(result) for result in made[name]()}) > 1


def paired(full, zero, max_):
    times = PairedTimes(["full", "zero", "max"], 1, 0)
    for seconds in zip(full, zero, max_, strict=True):
        times.add(dict(zip(["full", "zero", "max"], seconds, strict=True)))
    return times


def test_share_is_of_windows_that_stand_side_by_side():
    # In each window zero saves a fifth and max 0.15, however slow the machine is.
    full = [1.0, 3.0, 2.0]
    times = paired(full, [0.8 * t for t in full], [0.85 * t for t in full])
    row = benchmark_step.Row.from_times("vgg19", "1", times)
    assert row.share_kept == pytest.approx(75)


@pytest.mark.parametrize("zero", [1.0, 1.1])
def test_share_of_no_gain_is_no_number(zero):
    row = benchmark_step.Row.from_times("cnn2", "2", paired([1.0], [zero], [0.9]))
    assert math.isnan(row.share_kept)
    assert benchmark_step.format_row(row).split()[-1] == "-"


@pytest.mark.parametrize(
    ("schedule", "period"), [("1", 1), ("2", 2), ("3", 4), ("all_but_first", 1)]
)
def test_windows_of_steps_keep_one_order(schedule, period, monkeypatch):
    trained = []

    def make_model(network, schedule, method, width):
        del network, schedule, width
        return SimpleNamespace(train_on_batch=lambda *_: trained.append(method))

    class Recorded(PairedTimes):
        def __init__(self, methods, window, warm_up):
            super().__init__(methods, window, warm_up)
            made.append((window, warm_up))

    made = []
    monkeypatch.setattr(benchmark_step, "PairedTimes", Recorded)
    monkeypatch.setattr(benchmark_step, "make_model", make_model)
    monkeypatch.setattr(
        benchmark_step.tfag,
        "conversion_report",
        lambda _: SimpleNamespace(rows=[None] * 7),
    )
    steps = 8
    benchmark_step.measure("cnn2", schedule, batch=2, width=1.0, steps=steps)
    orders = [tuple(trained[i : i + 3]) for i in range(0, len(trained), 3)]
    ((window, warm_up),) = made
    assert window == period
    assert warm_up >= 3
    timed = orders[warm_up:]
    assert len(timed) == steps
    windows = [set(timed[i : i + window]) for i in range(0, steps, window)]
    assert [len(window) for window in windows] == [1] * len(windows)


def test_paths_of_the_sources_exist():
    for name in benchmarking._SOURCES + benchmarking._HEADERS:
        assert (Path(benchmarking.ROOT) / name).is_file(), name
