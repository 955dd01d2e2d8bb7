"""What pages take for granted: a user's model and data, and a folder to write to."""

from pathlib import Path
from typing import Any

import keras
import matplotlib
import numpy as np
import pytest

import tf_approxgrad as tfag

matplotlib.use("Agg")


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The names that pages use without a definition."""
    monkeypatch.chdir(tmp_path)
    model = tfag.models.cnn2((28, 28, 1), width=0.1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    x = np.random.default_rng(0).normal(size=(64, 28, 28, 1)).astype(np.float32)
    y = np.arange(64) % 10
    images = np.uint8(255 * x[..., 0].clip(0, 1)), np.uint8(y)
    monkeypatch.setattr(
        keras.datasets.fashion_mnist, "load_data", lambda: (images, images)
    )
    return {"model": model, "x": x, "y": y}
