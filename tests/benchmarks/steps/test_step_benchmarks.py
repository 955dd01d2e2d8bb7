"""The benchmarks of whole training steps."""

import dataclasses
import math

import keras
import pytest

from benchmarks.machine import Machine
from benchmarks.paired_times import PairedTimes
from benchmarks.rows import read_csv
from benchmarks.steps import exact_step, networks, step, switching

MACHINE = Machine("a cpu", 2, "avx2", 1e9, 1e10, "2.21.0", "0.1.0")


def row_of(full, zero, max_):
    times = PairedTimes(["full", "zero@schedule1", "max@schedule1"], 1, 0)
    for _ in range(5):
        times.add({"full": full, "zero@schedule1": zero, "max@schedule1": max_})
    return step.make_row("resnet20", "schedule1", times)


def test_share_kept_is_of_the_time_that_zero_saves():
    row = row_of(1.0, 0.8, 0.85)
    assert row.full_ms == pytest.approx(1000)
    assert row.zero_ratio == pytest.approx(1.25)
    assert row.max_ratio == pytest.approx(1 / 0.85)
    assert row.share_kept == pytest.approx(75)


@pytest.mark.parametrize("zero", [1.0, 1.1])
def test_share_of_no_gain_is_no_number(zero):
    row = row_of(1.0, zero, 0.9)
    assert math.isnan(row.share_kept)
    assert step.format_row(row).split()[-1] == "-"


def test_steps_of_all_methods_are_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(step, "set_threads", lambda threads: None)
    monkeypatch.setattr(step, "measure_machine", lambda threads: MACHINE)
    path = tmp_path / "rows.csv"
    step.main(
        [
            *("--models=cnn2", "--schedules=schedule2", "--batch=4", "--width=0.1"),
            *("--steps=4", f"--csv={path}"),
        ]
    )
    (row,) = read_csv(path, step.CsvRow)
    assert (row.model, row.schedule, row.cpu) == ("cnn2", "schedule2", "a cpu")
    assert min(row.full_ms, row.zero_ms, row.max_ms) > 0


def test_unknown_schedule_is_refused(capsys):
    with pytest.raises(SystemExit):
        step.main(["--schedules=schedule1,weekly"])
    assert "--schedules: 'weekly' is none of" in capsys.readouterr().err


def test_steps_that_switch_and_steps_that_do_not_are_timed():
    cost = switching.measure("max", 3, channels=2, size=6, batch=4, steps=4)
    assert min(cost.fixed_ms, cost.switching_ms) > 0
    assert math.isfinite(cost.percent)


def test_steps_with_exact_gradients_are_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(exact_step, "set_threads", lambda threads: None)
    monkeypatch.setattr(exact_step, "measure_machine", lambda threads: MACHINE)
    small = networks.Network(
        lambda: networks.resnet18((16, 16, 1), width=8), 4, (16, 16, 1)
    )
    monkeypatch.setitem(networks.NETWORKS, "small", small)
    path = tmp_path / "rows.csv"
    exact_step.main(["--networks=small", "--steps=3", f"--csv={path}"])
    (row,) = read_csv(path, exact_step.CsvRow)
    assert (row.network, row.batch, row.image) == ("small", 4, "16x16x1")
    assert min(row.full_ms, row.exact_ms, row.exact_ratio) > 0
    # This processor has no AVX-512.
    assert math.isnan(row.bfloat16_ms) and math.isnan(row.both_ratio)


def test_both_kinds_of_speed_up_are_timed_together(monkeypatch):
    small = networks.Network(
        lambda: networks.resnet18((16, 16, 1), width=8), 4, (16, 16, 1)
    )
    policies = []
    build = small.build

    def noting() -> keras.Model:
        policies.append(keras.config.dtype_policy().name)
        return build()

    row = exact_step.measure(
        "small", dataclasses.replace(small, build=noting), 3, with_bfloat16=True
    )
    assert policies == ["float32"] * 2 + ["mixed_bfloat16"] * 2
    assert keras.config.dtype_policy().name == "float32"
    assert min(row.bfloat16_ms, row.both_ms, row.bfloat16_ratio, row.both_ratio) > 0


def test_networks_are_built_as_they_are_described():
    unet = networks.unet((32, 32, 3), width=2)
    assert unet.output_shape == (None, 32, 32, 2)
    widths = {layer.filters for layer in unet.layers if hasattr(layer, "filters")}
    assert max(widths) == 32
    with pytest.raises(SystemExit):
        exact_step.main(["--networks=resnet19"])
