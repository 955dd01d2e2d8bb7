"""Every example runs on a few images, and does what its docstring says."""

import runpy
import subprocess
import sys
from pathlib import Path

import convert
import custom_loop
import export
import fashion_mnist
import fidelity
import fine_tune
import keras
import numpy as np
import plan_a_model
import pytest
import summaries
import train
from event_files import read_events

import tf_approxgrad as tfag

EXAMPLES = Path(train.__file__).parent


def small_model():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, name="conv1")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, name="conv2")(x))


def test_train_converts_the_network_and_back(capsys, monkeypatch):
    data, (x, y) = fashion_mnist.load_data()
    few = data, (x[:128], y[:128])
    monkeypatch.setattr(fashion_mnist, "load_data", lambda: few)
    model = train.main(epochs=1, images=128)
    printed = capsys.readouterr().out
    assert "4 of 4 convolutions" in printed and "val_accuracy" in printed
    assert tfag.conversion_report(model).converted == []


def test_plan_a_model_trains_by_a_plan_that_it_writes(tmp_path, capsys):
    plan, model = plan_a_model.main(
        epochs=1, images=128, batch=16, width=0.1, output=tmp_path / "plan.json"
    )
    printed = capsys.readouterr().out
    assert str(plan) in printed and "loss" in printed
    assert tfag.Plan.from_json(tmp_path / "plan.json") == plan
    assert tfag.conversion_report(model).converted == []


def test_convert_converts_a_file(tmp_path, capsys):
    model = small_model()
    model.save(tmp_path / "model.keras")
    convert.main(
        model=tmp_path / "model.keras", layers="2$", output=tmp_path / "new.keras"
    )
    printed = capsys.readouterr().out
    assert "1 of 2 convolutions" in printed
    assert "after conversion: True" in printed
    assert "after conversion back: True" in printed
    converted = keras.models.load_model(tmp_path / "new.keras")
    assert tfag.conversion_report(converted).converted == ["conv2"]
    x = np.ones((1, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(converted(x), model(x))


@pytest.mark.slow
def test_convert_converts_a_network_of_keras_applications(capsys):
    convert.main(network="MobileNetV2")
    printed = capsys.readouterr().out
    assert "35 of 52 convolutions" in printed
    assert "after conversion: True" in printed
    assert "after conversion back: True" in printed


@pytest.mark.slow
def test_resumed_loop_does_what_an_uninterrupted_one_does(tmp_path):
    # Ten steps an epoch.
    tiny = {"images": 200, "batch": 20}
    whole = custom_loop.main(epochs=3, **tiny)
    losses, shares = zip(*whole, strict=True)
    # Exact in the first epoch; then the share grows.
    assert shares[0] == 0 < shares[1] < shares[2]
    assert losses[2] < losses[0]
    parts = [
        custom_loop.main(epochs=epochs, checkpoint=str(tmp_path), **tiny)
        for epochs in (1, 3)
    ]
    assert [len(part) for part in parts] == [1, 2]
    for found, expected in zip(parts[0] + parts[1], whole, strict=True):
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_loop_trains_compiled_by_xla():
    plain, compiled = (
        custom_loop.main(epochs=1, images=100, batch=20, jit_compile=jit)
        for jit in (False, True)
    )
    assert compiled[0][0] == pytest.approx(plain[0][0], abs=2e-3)


@pytest.mark.slow
def test_fine_tune_learns_and_ends_as_a_plain_model():
    model, accuracy = fine_tune.main(epochs=2, images=2000)
    # The other classes are five.
    assert accuracy > 0.4
    assert tfag.conversion_report(model).converted == []
    assert not model.get_layer("edges").trainable


@pytest.mark.slow
def test_export_writes_what_loads_and_gives_the_same_outputs(tmp_path):
    differences = export.main(output=tmp_path, steps=4, width=0.1)
    assert set(differences) == {"serving", "model.tflite", "training"}
    assert max(differences.values()) < 1e-4
    assert (tmp_path / "model.tflite").stat().st_size > 0


@pytest.mark.slow
def test_fidelity_is_measured_before_and_after_training(tmp_path, monkeypatch):
    monkeypatch.setattr(fidelity, "METHODS", fidelity.METHODS[-1:])
    before, after = fidelity.main(
        epochs=1, images=20, batch=10, repeats=1, output=tmp_path
    )
    assert str(before) != str(after)
    for name in ("before", "after"):
        assert (tmp_path / f"{name}.csv").stat().st_size > 0
        assert (tmp_path / f"{name}.png").stat().st_size > 0


@pytest.mark.slow
def test_summaries_switch_and_write_methods_shares_and_fidelity(tmp_path, capsys):
    summaries.main(*(6, 60, 20), patience=1, update_freq=3, output=str(tmp_path))
    assert "val_accuracy has not improved" in capsys.readouterr().out
    assert (tmp_path / "schedule.png").stat().st_size > 0
    events = read_events(tmp_path / "approximation")
    method = "row-sampled(share=0.5, probability='product', keep_largest=True)"
    assert sorted(events["conv2/method"]) == [3, 6, 9, 12, 15, 18]
    assert {*events["conv2/method"].values()} <= {"full", method}
    assert events["conv2/method"][18] == "full"
    # Step 1 is the one that is approximated of the first three.
    assert events["share_approximated"][3] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_examples_run_as_programs(tmp_path):
    for name in ("train", "custom_loop"):
        command = [sys.executable, EXAMPLES / f"{name}.py", "--epochs=1"]
        finished = subprocess.run(
            [*command, "--images=256"], cwd=tmp_path, capture_output=True, text=True
        )
        assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    "name",
    sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "fashion_mnist"),
)
def test_example_has_a_command_line(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert caught.value.code == 0
    assert "usage" in capsys.readouterr().out
