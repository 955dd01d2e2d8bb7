"""Conversion without a schedule: exact gradients by the fastest kernels."""

import dataclasses
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad.gradients.filter_gradient import GradientInputs, filter_gradient
from tf_approxgrad.training.trace_check import trained_layers


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    conv = keras.layers.Conv2D
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            conv(16, 3, padding="same", activation="relu", name="first"),
            conv(16, 3, padding="same", activation="relu", name="second"),
            conv(24, 3, strides=2, padding="same", activation="relu", name="strided"),
            conv(16, 1, activation="relu", name="pointwise"),
            keras.layers.SeparableConv2D(16, 3, padding="same", name="separable"),
            keras.layers.Conv2DTranspose(16, 3, strides=2, name="transposed"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )


def data(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.standard_normal([count, 12, 12, 3]), rng.integers(0, 10, count)


def train(model: keras.Model) -> list[float]:
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = model.fit(*data(), batch_size=16, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"]


def test_both_gradients_are_exact_by_the_fastest_kernels() -> None:
    model = network()
    assert tfag.approximate_gradients(model) is model
    for layer in trained_layers(model):
        policy = layer.gradient_policy
        assert set(policy.row()) == {tfag.ExactGradient()}
        assert layer.input_gradient == tfag.ExactGradient()
    notes = {row.name: row.note for row in tfag.conversion_report(model).rows}
    winograd = "exact (winograd); input gradient: exact (winograd)"
    dense = "exact (dense); input gradient: exact (dense)"
    assert notes == dict.fromkeys(notes, dense) | {"second": winograd}


def test_training_is_that_of_the_plain_model() -> None:
    expected = train(network())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = tfag.approximate_gradients(network())
    np.testing.assert_allclose(train(model), expected, rtol=1e-4)


def test_nothing_counts_as_approximated() -> None:
    model = tfag.approximate_gradients(network())
    schedule = trained_layers(model)[0].gradient_policy.schedule
    assert schedule.fraction(layers=6) == 0
    callback = tfag.ApproximationCallback(show_share=True)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    history = model.fit(*data(32), callbacks=[callback], verbose=0).history
    assert history["share_approximated"] == [0]


def test_input_gradient_of_another_method_stays_that() -> None:
    model = tfag.approximate_gradients(network(), input_gradient="winograd")
    assert model.get_layer("second").input_gradient == tfag.WinogradGradient()


def test_other_schedules_have_fast_input_gradients_on_request_alone() -> None:
    schedule = tfag.Constant("sampled")
    model = tfag.approximate_gradients(network(), schedule)
    assert model.get_layer("second").input_gradient is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfag.approximate_gradients(model, schedule, input_gradient="exact")
    assert model.get_layer("second").input_gradient == tfag.ExactGradient()


def test_model_is_saved_and_stripped(tmp_path: Path) -> None:
    model = tfag.approximate_gradients(network())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    layer = loaded.get_layer("second")
    assert layer.input_gradient == tfag.ExactGradient()
    assert layer.gradient_policy.method_at(0) == tfag.ExactGradient()
    stripped = tfag.strip_approximation(loaded)
    assert type(stripped.get_layer("second")) is keras.layers.Conv2D


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_report_names_the_kernels_of_one_dimension_too(data_format: str) -> None:
    shape = (9, 16) if data_format == "channels_last" else (16, 9)
    options = {"data_format": data_format}
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv1D(16, 3, padding="causal", **options),
            keras.layers.Conv1D(16, 9, padding="valid", **options),
            keras.layers.Conv1D(16, 5, padding="same", **options),
        ]
    )
    tfag.approximate_gradients(model)
    kernels = [row.note.split(";")[0] for row in tfag.conversion_report(model).rows]
    assert kernels == ["exact (dense)", "exact (dense)", "exact (positions)"]


def test_layers_without_a_faster_kernel_run_the_code_of_keras() -> None:
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Conv2D(24, 3, strides=2, padding="same", activation="relu"),
        keras.layers.SeparableConv2D(16, 3, padding="same"),
        keras.layers.Conv2DTranspose(16, 3, strides=2),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10),
    ]
    model = keras.Sequential([keras.Input((12, 12, 3)), *layers])
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    tfag.approximate_gradients(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses = train(model), train(twin)
    assert losses[0] == losses[1]
    for one, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    report = tfag.conversion_report(model)
    assert all(row.note.startswith("exact (dense);") for row in report.rows)
    assert not any("but exact in training" in row.note for row in report.rows)


def test_nothing_is_said_of_calls_without_training() -> None:
    model = tfag.approximate_gradients(network())
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(*data(32), callbacks=[tfag.ApproximationCallback()], verbose=0)
    assert not any("but" in row.note for row in tfag.conversion_report(model).rows)


class WithoutTraining(keras.Model):
    """Calls its network without `training`."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.network(inputs)


def test_model_that_never_trains_its_layers_trains_as_before() -> None:
    model = WithoutTraining()
    model(data(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfag.approximate_gradients(model)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    model.fit(*data(32), callbacks=[tfag.ApproximationCallback()], verbose=0)


def test_callback_says_that_gradients_are_exact(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tfag.approximate_gradients(network())
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    model.fit(*data(32), callbacks=[tfag.ApproximationCallback()], verbose=2)
    assert "Exact gradients in 6 convolutions." in capsys.readouterr().out


def test_plateau_leaves_exact_gradients_their_kernels() -> None:
    model = tfag.approximate_gradients(network())
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    plateau = tfag.SwitchToFullOnPlateau(monitor="loss", patience=1, min_delta=1e9)
    model.fit(*data(32), epochs=4, callbacks=[plateau], verbose=0)
    assert model.get_layer("second").gradient_policy.row() == (tfag.ExactGradient(),)


def test_approximate_input_gradients_leave_exact_layers_alone() -> None:
    schedule = tfag.Combined(
        [
            tfag.Constant("exact", layers=["second"]),
            tfag.Constant("sampled", layers=["strided"]),
        ]
    )
    model = tfag.approximate_gradients(network(), schedule, input_gradient="sampled")
    rows = {
        name: model.get_layer(name).gradient_policy.input_row()
        for name in ("first", "second", "strided")
    }
    assert rows == {
        "first": (tfag.FullGradient(),),
        "second": (tfag.ExactGradient(),),
        "strided": (tfag.SampledGradient(),),
    }


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True)
class OwnExact(tfag.GradientMethod):
    """Exact, by a function of the user's own."""

    name = "own-exact"
    is_exact = True


def test_exact_method_of_the_users_own_computes_every_layer() -> None:
    called = []

    def compute(method: OwnExact, inputs: GradientInputs) -> tf.Tensor:
        called.append(inputs.layer)
        return filter_gradient(tfag.FullGradient(), inputs)

    tfag.register_filter_gradient(OwnExact, compute)
    model = tfag.approximate_gradients(network(), tfag.Constant("own-exact"))
    train(model)
    assert set(called) == {1, 2, 3, 4, 5, 6}
