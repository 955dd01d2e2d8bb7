"""What a converted model exports needs nothing of this package to serve."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly
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
    assert_serves_by_tensorflows_ops(folder, x, outputs)


def assert_serves_by_tensorflows_ops(
    folder: Path, x: np.ndarray, outputs: np.ndarray
) -> None:
    loaded = tf.saved_model.load(str(folder / "model"))
    serve = loaded.signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    (found,) = serve(**{name: tf.constant(x)}).values()
    np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-5)
    kinds = operations(serve.graph)
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


def test_trained_model_serves_by_tensorflows_ops(tmp_path):
    model, x = trained_network()
    model.export(str(tmp_path / "model"), verbose=False)
    assert_serves_by_tensorflows_ops(tmp_path, x, model(x).numpy())


@pytest.mark.slow
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


def all_kinds() -> tuple[keras.Model, np.ndarray]:
    """Every kind of layer that is converted, inside a subclassed model as well."""

    class Inner(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = keras.layers.Conv2D(2, 3)

        def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
            return self.convolution(x)

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.SeparableConv2D(4, 3, activation="relu")(inputs)
    x = Inner()(keras.layers.Conv2DTranspose(4, 3, strides=2)(x))
    x = keras.layers.Conv1D(2, 3)(keras.layers.Reshape((-1, 2))(x))
    model = keras.Model(inputs, x)
    model = tfag.approximate_gradients(model, tfag.Alternate("max"))
    assert len(tfag.conversion_report(model).converted) == 4
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    callbacks = [tfag.ApproximationCallback()]
    model.fit(x, np.zeros(model(x).shape), callbacks=callbacks, verbose=0)
    return model, x


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["export", "saved_model"])
def test_every_kind_of_layer_serves_without_the_package(kind, tmp_path):
    model, x = all_kinds()
    if kind == "export":
        model.export(str(tmp_path / "model"), verbose=False)
    else:
        tf.saved_model.save(model, str(tmp_path / "model"))
    assert_serves_elsewhere(tmp_path, x, model(x).numpy())


class Trainable(tf.Module):
    """A model and its optimizer, with a signature that trains."""

    def __init__(self, model: keras.Model, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self.optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        self.optimizer.build(model.trainable_variables)
        tfag.bind_step(model, self.optimizer.iterations)
        self.kernel = model.get_layer("conv2").kernel.value
        spec = tf.TensorSpec(shape)
        self.train = tf.function(self._train, input_signature=[spec])

    def _train(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.model(x, training=True) ** 2)
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        self.optimizer.apply(gradients, variables)
        return {"loss": loss, "kernel": tf.identity(self.kernel)}


TRAIN = """
import numpy as np
import tensorflow as tf
import tf_approxgrad
module = tf.saved_model.load("model")
train = module.signatures["train"]
x = tf.constant(np.load("x.npy"))
np.save("kernels.npy", [train(x=x)["kernel"] for _ in range(4)])
"""


@pytest.mark.slow
def test_saved_model_with_a_training_signature_trains_on_where_it_is_loaded(tmp_path):
    model, x = trained_network()
    # Steps 1 and 3 leave the second convolution as it is, but for the momentum.
    model = tfag.approximate_gradients(model, tfag.Alternate("zero"))
    module = Trainable(model, x.shape)
    module.optimizer.momentum = 0.0
    module.train(x)
    path = str(tmp_path / "model")
    tf.saved_model.save(module, path, {"train": module.train})
    np.save(tmp_path / "x.npy", x)
    finished = subprocess.run(
        [sys.executable, "-c", TRAIN],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    kernels = np.load(tmp_path / "kernels.npy")
    before = module.kernel.numpy()
    expected = [module.train(x)["kernel"].numpy() for _ in range(4)]
    np.testing.assert_allclose(kernels, expected, rtol=1e-4, atol=1e-6)
    assert np.any(kernels[-1] != before)
    # The op itself, with the gradient of a method that has one.
    model = tfag.approximate_gradients(model, tfag.Constant("max"))
    tf.saved_model.save(Trainable(model, x.shape), path)
    kinds = operations_in_file(tmp_path / "model" / "saved_model.pb")
    assert "ApproxConv2DBackpropFilter" in kinds


@pytest.mark.parametrize(
    "counter",
    [
        keras.optimizers.SGD(),
        *slowly(
            tf.Variable(0, dtype=tf.int64),
            keras.optimizers.SGD(gradient_accumulation_steps=2),
        ),
    ],
    ids=["optimizer", "variable", "accumulating"],
)
def test_saved_training_function_holds_the_step_wherever_it_is(counter, tmp_path):
    """No object that is saved has the counter, which TensorFlow refuses."""
    layer = keras.layers.Conv2D(2, 3)
    model = keras.Sequential([keras.Input((6, 6, 2)), layer])
    tfag.approximate_gradients(model, tfag.EveryNthStep("zero", n=2))
    tfag.bind_step(model, counter)
    module = tf.Module()
    module.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 2])])
    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        return tape.gradient(loss, layer.kernel.value)

    module.gradient = gradient
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    x = tf.ones([2, 6, 6, 2])
    np.testing.assert_array_equal(loaded.gradient(x), gradient(x))
    # Nothing of it is in the files of weights.
    assert not any("step" in weight.path for weight in model.weights)


def test_function_that_trains_without_a_step_is_not_saved_and_says_why(tmp_path):
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(2, 3)])
    tfag.approximate_gradients(model, tfag.EveryNthStep("zero", n=2))
    module = tf.Module()
    module.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 2])])
    def outputs(x):
        return model(x, training=True)

    module.outputs = outputs
    with pytest.raises(ValueError, match="tracing gradients") as caught:
        tf.saved_model.save(module, str(tmp_path))
    assert "no step is bound" in str(caught.value.__cause__)


def test_onnx_runs_a_converted_model():
    reason = "needs tf2onnx and onnxruntime: pip install tf_approxgrad[onnx]"
    tf2onnx = pytest.importorskip("tf2onnx", reason=reason)
    onnxruntime = pytest.importorskip("onnxruntime", reason=reason)
    model, x = all_kinds()
    function = tf.function(model, input_signature=[tf.TensorSpec((None, *x.shape[1:]))])
    exported, _ = tf2onnx.convert.from_function(
        function, input_signature=function.input_signature
    )
    assert not any("Approx" in node.op_type for node in exported.graph.node)
    session = onnxruntime.InferenceSession(exported.SerializeToString())
    (outputs,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(outputs, model(x), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_resnet50_keeps_its_outputs_and_serves_without_the_package(tmp_path):
    shape = (64, 64, 3)
    model = keras.applications.ResNet50(weights=None, input_shape=shape, classes=10)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    expected = model(x).numpy()
    converted = tfag.approximate_gradients(model, tfag.EveryNthLayer("max"))
    np.testing.assert_array_equal(converted(x), expected)
    report = tfag.conversion_report(converted)
    assert len(report.converted) == 53
    assert report.skipped == []
    converted.export(str(tmp_path / "model"), verbose=False)
    assert_serves_elsewhere(tmp_path, x, expected)


@pytest.mark.parametrize("make", [all_kinds, *slowly(trained_network)])
def test_tflite_runs_a_converted_model(make):
    model, x = make()
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
