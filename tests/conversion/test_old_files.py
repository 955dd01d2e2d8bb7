"""Models that earlier versions of this package saved load, and go on training.

`data/saved_before_folders.keras` was written by commit 36f36b1, whose package was flat:
one layer of each kind, nested schedules of all methods, an input gradient, and the
history that layers had then. The .npz beside it holds inputs and outputs.
"""

from pathlib import Path

import keras
import numpy as np

import tf_approxgrad as tfag

DATA = Path(__file__).with_name("data")


def test_a_model_saved_before_the_package_had_folders_loads() -> None:
    model = keras.models.load_model(DATA / "saved_before_folders.keras")
    saved = np.load(DATA / "saved_before_folders.npz")
    np.testing.assert_allclose(model.predict(saved["x"], verbose=0), saved["y"], 1e-5)
    layers = [x for x in model.layers if hasattr(x, "gradient_policy")]
    assert [type(layer) for layer in layers] == [
        tfag.ApproxConv2D,
        tfag.ApproxSeparableConv2D,
        tfag.ApproxConv2DTranspose,
        tfag.ApproxConv1D,
    ]
    (schedule,) = {layer.gradient_policy.schedule for layer in layers}
    rows = tfag.RowSampledGradient(0.5, probability="product", keep_largest=True)
    assert schedule(1, 0) == rows
    assert schedule(2, 2) == tfag.SampledGradient(k=0.25)
    assert schedule(4, 5) == tfag.MaxGradient(k=2)
    assert layers[0].input_gradient == tfag.SampledGradient()
    assert int(model.optimizer.iterations) == 6
    callbacks = [tfag.ApproximationCallback()]
    model.fit(saved["x"], np.zeros((2, 2)), verbose=0, callbacks=callbacks)
    assert int(model.optimizer.iterations) == 7
