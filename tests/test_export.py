"""What a converted model exports needs nothing of this package to serve."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from recording import operations
from tensorflow.core.protobuf import saved_model_pb2

import tf_approxgrad as tfag

SERVE = """
import sys
import numpy as np
import tensorflow as tf
serve = tf.saved_model.load("model").signatures["serving_default"]
(name,) = serve.structured_input_signature[1]
(outputs,) = serve(**{name: tf.constant(np.load("x.npy"))}).values()
np.testing.assert_allclose(outputs, np.load("y.npy"), rtol=1e-4, atol=1e-5)
assert "tf_approxgrad" not in sys.modules
"""


def assert_serves_elsewhere(folder: Path, x: np.ndarray, outputs: np.ndarray) -> None:
    """Runs folder/model in a process that doesn't import the package."""
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", outputs)
    finished = subprocess.run(
        [sys.executable, "-c", SERVE],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    loaded = tf.saved_model.load(str(folder / "model"))
    kinds = operations(loaded.signatures["serving_default"].graph)
    assert "Conv2D" in kinds
    # Functions that the signature doesn't call need the package as well to be loaded.
    kinds |= operations_in_file(folder / "model" / "saved_model.pb")
    assert not any("Approx" in kind for kind in kinds)


def operations_in_file(path: Path) -> set[str]:
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (graph,) = [part.graph_def for part in saved.meta_graphs]
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return {node.op for node in nodes}


def trained_network() -> tuple[keras.Model, np.ndarray]:
    model = tfag.models.cnn2((12, 12, 1), width=0.2, seed=0)
    model = tfag.approximate_gradients(model, tfag.Alternate("max"))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).normal(size=(8, 12, 12, 1)).astype(np.float32)
    callbacks = [tfag.ApproximationCallback()]
    model.fit(x, np.arange(8), batch_size=4, callbacks=callbacks, verbose=0)
    return model, x


@pytest.mark.parametrize("kind", ["export", "saved_model", "tf.function"])
def test_trained_model_serves_without_the_package(kind, tmp_path):
    model, x = trained_network()
    path = str(tmp_path / "model")
    if kind == "export":
        model.export(path, verbose=False)
    elif kind == "saved_model":
        tf.saved_model.save(model, path)
    else:
        module = tf.Module()
        module.variables_of_the_model = [v.value for v in model.variables]
        module.serve = tf.function(model, input_signature=[tf.TensorSpec(x.shape)])
        tf.saved_model.save(module, path)
    assert_serves_elsewhere(tmp_path, x, model(x).numpy())


@pytest.mark.slow
def test_resnet50_keeps_its_outputs_and_serves_without_the_package(tmp_path):
    shape = (64, 64, 3)
    model = keras.applications.ResNet50(weights=None, input_shape=shape, classes=10)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    converted = tfag.approximate_gradients(model, tfag.EveryNthLayer("max"))
    np.testing.assert_array_equal(converted(x), model(x))
    report = tfag.conversion_report(converted)
    assert len(report.converted) == 53
    assert report.skipped == {}
    converted.export(str(tmp_path / "model"), verbose=False)
    assert_serves_elsewhere(tmp_path, x, model(x).numpy())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0", "DenseNet121"])
def test_models_of_keras_applications_keep_their_outputs(name):
    shape = (64, 64, 3)
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=shape, classes=10)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    converted = tfag.approximate_gradients(model, tfag.Alternate("max"))
    np.testing.assert_array_equal(converted(x), model(x))
    plain = tfag.strip_approximation(converted)
    np.testing.assert_array_equal(plain(x), model(x))


def test_tflite_runs_a_converted_model():
    model, x = trained_network()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    (entry,), (result,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], x[:1])
    interpreter.invoke()
    outputs = interpreter.get_tensor(result["index"])
    np.testing.assert_allclose(outputs, model(x[:1]), rtol=1e-3, atol=1e-4)
