"""convert.py, fine_tune.py and export.py run as programs, and do what they say.

Each in a process of its own: absl's flags are one list for a whole process.
"""

import re
import subprocess
import sys
from pathlib import Path

import datasets
import keras
import numpy as np
import pytest

import tf_approxgrad as tfag

EXAMPLES = Path(datasets.__file__).parent


def run(program, *arguments, folder, code=0):
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / program), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == code, finished.stderr
    return finished.stdout if code == 0 else finished.stderr


def small_model():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, name="conv1")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, name="conv2")(x))


def test_convert_converts_a_file(tmp_path):
    model = small_model()
    model.save(tmp_path / "model.keras")
    output = run(
        "convert.py",
        "--model=model.keras",
        "--layers=2$",
        "--output=converted.keras",
        folder=tmp_path,
    )
    assert "conv2 (ApproxConv2D)" in output
    assert "1 of 2 convolutions" in output
    assert "after conversion: True, and converted back: True" in output
    converted = keras.models.load_model(tmp_path / "converted.keras")
    assert tfag.conversion_report(converted).converted == ["conv2"]
    x = np.ones((1, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(converted(x), model(x))


@pytest.mark.slow
def test_convert_converts_a_network_of_keras_applications(tmp_path):
    output = run("convert.py", "--network=MobileNetV2", folder=tmp_path)
    assert "35 of 52 convolutions" in output
    assert "after conversion: True, and converted back: True" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model=none.keras",), "none.keras"),
        (("--model=model.keras", "--layers=x"), "must match a layer"),
        (("--model=model.keras", "--layers=("), "unterminated"),
        (("more",), "arguments that aren't flags: more"),
    ],
    ids=" ".join,
)
def test_convert_refuses_in_one_sentence(arguments, words, tmp_path):
    small_model().save(tmp_path / "model.keras")
    output = run("convert.py", *arguments, folder=tmp_path, code=1)
    assert words in output
    assert "Traceback" not in output


def test_fine_tune_learns_and_ends_as_a_plain_model(tmp_path):
    output = run(
        "fine_tune.py",
        "--limit=2000",
        "--base_epochs=1",
        "--epochs=2",
        "--output=model.keras",
        folder=tmp_path,
    )
    (accuracy,) = re.findall(r"Accuracy on the other classes: ([\d.]+)%", output)
    # The other classes are five.
    assert float(accuracy) > 40
    assert re.search(r"things \(ApproxSeparableConv2D\)", output)
    model = keras.models.load_model(tmp_path / "model.keras")
    assert tfag.conversion_report(model).converted == []
    assert not model.get_layer("edges").trainable


def test_export_writes_what_loads_and_gives_the_same_outputs(tmp_path):
    output = run("export.py", "--steps=4", "--width=0.1", folder=tmp_path)
    found = dict(re.findall(r"exported/(\S+): outputs differ by at most (\S+)", output))
    assert set(found) == {"serving", "model.tflite", "training"}
    assert all(float(difference) < 1e-4 for difference in found.values())
    assert (tmp_path / "exported" / "model.tflite").stat().st_size > 0
