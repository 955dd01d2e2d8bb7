"""The measurement of plans on networks."""

import keras
import numpy as np
import pytest

from benchmarks.planning import plans
from benchmarks.planning.images import make_images
from benchmarks.rows import read_csv
from benchmarks.steps import networks


def test_images_fit_every_network() -> None:
    for network in networks.SMALL_NETWORKS.values():
        x, y = make_images(network, (10,), 20)
        assert x.shape == (20, *network.image)
        assert x.dtype == np.float32
        assert sorted(set(y)) == list(range(10))


def test_pixels_of_segmented_images_are_labelled() -> None:
    network = networks.SMALL_NETWORKS["unet_64"]
    x, y = make_images(network, (*network.image[:2], 2), 20)
    assert x.shape == (20, *network.image)
    assert y.shape == (20, *network.image[:2])
    assert 0.01 < y.mean() < 0.5


def test_rows_hold_the_plan(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    layers = keras.layers

    def build() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(4, 3, strides=2),
                layers.GlobalAveragePooling2D(),
                layers.Dense(10),
            ]
        )

    small = {"small": networks.Network(build, 16, (28, 28, 1))}
    monkeypatch.setattr(plans, "SMALL_NETWORKS", small)
    # TensorFlow has computed before.
    monkeypatch.setattr(plans, "set_threads", lambda threads: None)
    csv = tmp_path / "plans.csv"
    plans.main(["--networks=small", "--epochs=0,1", "--images=256", f"--csv={csv}"])
    first, second = read_csv(csv, plans.CsvRow)
    assert (first.epochs, second.epochs) == (0, 1)
    assert first.layers == 1
    assert first.net == pytest.approx(first.measured / (1 + first.tau))
