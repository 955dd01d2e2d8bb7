"""Networks of keras.applications, converted, trained for a step and stripped."""

import keras
import numpy as np
import pytest

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import all_layers

# Each with the number of its convolutions that are converted and that are not.
NETWORKS = {
    "ResNet50": (53, 0),
    "MobileNetV2": (35, 17),
    "EfficientNetB0": (65, 16),
    "DenseNet121": (120, 0),
    # Its depthwise convolutions are Conv2D layers with groups.
    "ConvNeXtTiny": (4, 18),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_network_converts_trains_a_step_and_strips_to_the_same_outputs(name):
    shape = (64, 64, 3)
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=shape, classes=10)
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    expected, classes = model(x).numpy(), [type(x) for x in all_layers(model)]
    converted = tfag.approximate_gradients(model, tfag.Alternate("max", steps=1))
    np.testing.assert_array_equal(converted(x), expected)
    report = tfag.conversion_report(converted)
    assert (len(report.converted), len(report.skipped)) == NETWORKS[name]
    weights = [weight.numpy() for weight in converted.trainable_weights]
    converted.compile("sgd", "sparse_categorical_crossentropy")
    loss = converted.train_on_batch(x, np.arange(4))
    assert np.isfinite(loss)
    after = [weight.numpy() for weight in converted.trainable_weights]
    assert all(np.all(np.isfinite(weight)) for weight in after)
    moved = [np.any(a != b) for a, b in zip(weights, after, strict=True)]
    assert np.mean(moved) > 0.9
    outputs = converted(x).numpy()
    assert np.any(outputs != expected)
    plain = tfag.strip_approximation(converted)
    np.testing.assert_array_equal(plain(x), outputs)
    assert [type(x) for x in all_layers(plain)] == classes
