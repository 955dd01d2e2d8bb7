"""`plan` of models and data of many kinds; no speed is asserted."""

import math
from typing import Any

import keras
import model_zoo
import numpy as np
import pytest
import tensorflow as tf
from fidelity_checks import zoo_batch, zoo_loss
from planned_models import CLASSES, CROSSENTROPY, X, Y, classifier, compiled, make_plan

import tf_approxgrad as tfag
from tf_approxgrad.planning.candidates import parse_candidates
from tf_approxgrad.utils.machine import machine_name

# --- The plan ------------------------------------------------------------------------


def test_plan_holds_what_was_measured() -> None:
    plan = make_plan(compiled(), max_extra_variance=0.2)
    assert plan.model_name == "classifier"
    assert [layer.name for layer in plan.layers] == ["first", "second"]
    assert [layer.filters for layer in plan.layers] == [(3, 3, 2, 4), (3, 3, 4, 5)]
    for layer in plan.layers:
        assert 0 < layer.exact_ms <= layer.full_ms
        assert 0 < layer.ms <= layer.full_ms
        assert layer.reason
        assert layer.kernel.startswith(layer.method.name)
    assert plan.batch_size == 8
    assert plan.full_step_ms > 0
    assert plan.predicted_step_ms > 0
    assert plan.speed_up > 0
    assert plan.tau == pytest.approx(sum(layer.tau for layer in plan.layers))
    assert 0 <= plan.tau <= plan.max_extra_variance == 0.2
    assert plan.noise_batch >= 0
    assert plan.machine == machine_name()
    assert plan.curve[0][0] == 0
    taus, nets = zip(*plan.curve, strict=True)
    assert sorted(taus) == list(taus)
    assert sorted(nets) == list(nets)
    names = [alternative.name for alternative in plan.alternatives]
    assert "half the batch (4)" in names
    assert "mixed_bfloat16" in names
    assert plan.verdict.endswith(".")
    assert plan.verdict in " ".join(str(plan).split())


def test_plan_goes_to_json_and_into_training() -> None:
    model = compiled()
    plan = make_plan(model)
    assert tfag.Plan.from_json(plan.to_json()) == plan
    tfag.approximate_gradients(model, plan)
    history = model.fit(
        X, Y, 8, callbacks=[tfag.ApproximationCallback()], verbose=0
    ).history
    assert math.isfinite(history["loss"][0])


def test_default_methods_are_unbiased() -> None:
    methods = parse_candidates(None)
    rows = [x for x in methods if isinstance(x, tfag.RowSampledGradient)]
    tiles = [x for x in methods if isinstance(x, tfag.TileSampledGradient)]
    assert len(rows) + len(tiles) == len(methods)
    assert {method.scale for method in rows} == {1.0}
    assert {method.probability for method in rows} == {"norm", "product"}
    assert all(method.keep_largest for method in rows)
    plan = make_plan(compiled(), methods=None)
    for layer in plan.layers:
        assert layer.method.is_exact or layer.method in methods


# --- Models --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        lambda model: tfag.approximate_gradients(model, tfag.Alternate("max")),
        lambda model: tfag.approximate_gradients(model, layers="second"),
        lambda model: tfag.approximate_gradients(model, make_plan(model)),
    ],
    ids=["all", "some", "by a plan"],
)
def test_converted_model_is_planned_as_the_plain_one(convert: Any) -> None:
    plain = make_plan(compiled())
    keras.utils.set_random_seed(5)
    model = convert(compiled())
    plan = make_plan(model)
    assert [(x.name, x.filters) for x in plan.layers] == [
        (x.name, x.filters) for x in plain.layers
    ]
    tfag.approximate_gradients(model, plan)


def test_variances_dont_depend_on_a_conversion() -> None:
    noise = []
    # Targets that are alike, so that there is a signal beside the noise.
    y = np.zeros_like(Y)
    for convert in (lambda x: x, lambda x: tfag.approximate_gradients(x, None)):
        keras.utils.set_random_seed(5)
        noise.append(make_plan(convert(compiled()), y=y).noise_batch)
    assert noise[0] > 0
    assert noise[0] == pytest.approx(noise[1], rel=1e-3)


def test_model_that_is_not_compiled_is_planned_for_adam() -> None:
    model = classifier()
    plan = make_plan(model, loss=CROSSENTROPY)
    assert plan.counts_by_layer
    assert not model.compiled
    assert getattr(model, "optimizer", None) is None


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("sgd", False),
        ("adam", True),
        (keras.optimizers.SGD(0.1, momentum=0.9), False),
        (keras.optimizers.AdamW(weight_decay=0.1, clipnorm=1.0, use_ema=True), True),
        (
            keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 100)),
            False,
        ),
        (keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), False),
    ],
)
def test_tau_is_counted_as_the_optimizer_takes_gradients(
    optimizer: Any, expected: bool
) -> None:
    assert make_plan(compiled(optimizer)).counts_by_layer == expected


@pytest.mark.parametrize("loss", [None, CROSSENTROPY])
def test_model_in_bfloat16_is_planned(loss: Any) -> None:
    plan = make_plan(compiled("adam", dtype="mixed_bfloat16"), loss=loss)
    (half, bfloat16) = plan.alternatives[-2:]
    assert half.speed_up > 0
    assert bfloat16.speed_up == 0
    assert bfloat16.note == "the model computes in mixed precision already"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_model_in_float16_is_planned_with_its_loss_scale(optimizer: str) -> None:
    inner = keras.optimizers.get(optimizer)
    wrapped = keras.optimizers.LossScaleOptimizer(inner)
    plan = make_plan(compiled(wrapped, dtype="mixed_float16"))
    assert plan.counts_by_layer == (optimizer == "adam")
    assert 0 <= plan.noise_batch < math.inf


def test_loss_scale_that_is_still_too_large_is_named() -> None:
    """As in the first steps of float16, until Keras has lowered it."""
    model = compiled(
        keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1), initial_scale=2.0**30
        ),
        dtype="mixed_float16",
    )
    with pytest.raises(ValueError, match="loss scale is still too large"):
        make_plan(model)


@pytest.mark.parametrize(
    "make", [model_zoo.several_ends, model_zoo.subclassed, model_zoo.own_functional]
)
def test_model_of_another_kind_is_planned(make: Any) -> None:
    """Several inputs and outputs, subclasses, and training steps of the user's own."""
    model = make()
    x, y = zoo_batch(model)
    model.compile("sgd", zoo_loss(y))
    plan = make_plan(model, x, y, batch_size=3)
    rows = tfag.conversion_report(model).rows
    assert [layer.name for layer in plan.layers] == [
        row.name for row in rows if row.index is not None
    ]


def test_losses_by_output_are_those_of_compile() -> None:
    model = model_zoo.several_ends()
    x, y = zoo_batch(model)
    plan = make_plan(model, x, y, batch_size=3, loss={"sum": "mse", "a": "mae"})
    assert [layer.name for layer in plan.layers] == ["a", "b"]


def test_loss_may_be_a_function() -> None:
    def loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.square(y_pred - y_true[:, None]), axis=-1)

    make_plan(classifier(), X, Y.astype(np.float32), loss=loss)


def test_frozen_layers_are_named_and_not_measured() -> None:
    model = compiled()
    model.layers[0].trainable = False
    frozen, measured = make_plan(model).layers
    assert frozen.reason == "frozen"
    assert frozen.method.is_exact
    assert (frozen.full_ms, frozen.exact_ms, frozen.ms, frozen.tau) == (0, 0, 0, 0)
    assert measured.reason != "frozen"
    assert measured.full_ms > 0


def test_model_whose_convolutions_are_all_frozen_trains_as_before() -> None:
    model = compiled()
    for layer in model.layers[:-1]:
        layer.trainable = False
    plan = make_plan(model)
    assert [layer.reason for layer in plan.layers] == ["frozen"] * 2
    assert plan.verdict.startswith("Train as before: ")
    assert plan.speed_up == 1
    str(plan)


def test_layer_in_control_flow_is_exact_and_says_why() -> None:
    layer = keras.layers.Conv2D(2, 3, padding="same", name="inner")

    class Within(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = layer

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return keras.ops.cond(keras.ops.sum(x) > -1e9, lambda: layer(x), lambda: x)

    layer.build((None, 8, 8, 2))
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            Within(),
            keras.layers.Conv2D(CLASSES, 3),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    inner, other = make_plan(model, loss=CROSSENTROPY).layers
    assert inner.reason == "its filters aren't trained in every step"
    assert inner.method.is_exact
    assert other.full_ms > 0


def test_model_of_one_batch_size_has_no_half_of_it() -> None:
    inputs = keras.Input(batch_shape=(8, 8, 8, 2))
    x = keras.layers.Conv2D(3, 3, name="only")(inputs)
    x = keras.layers.Lambda(lambda y: tf.reshape(y, (8, 36 * 3)))(x)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(x))
    plan = make_plan(model, loss=CROSSENTROPY)
    half = next(x for x in plan.alternatives if x.name.startswith("half"))
    assert half.speed_up == 0
    assert half.note == "the model takes one batch size only"


def test_single_examples_have_no_half() -> None:
    plan = make_plan(compiled(), batch_size=1)
    assert plan.batch_size == 1
    half = next(x for x in plan.alternatives if x.name.startswith("half"))
    assert half.speed_up == 0
    assert half.note != "the model takes one batch size only"


@pytest.mark.slow
def test_model_compiled_by_xla_is_planned() -> None:
    model = classifier()
    model.compile("sgd", CROSSENTROPY, jit_compile=True)
    plan = make_plan(model)
    assert all(layer.full_ms > 0 for layer in plan.layers)


# --- Data ----------------------------------------------------------------------------


def test_dataset_is_planned_with_its_batch_size() -> None:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)
    plan = make_plan(compiled(), data, None, batch_size=None)
    assert plan.batch_size == 5


def test_labels_of_one_column_are_as_good() -> None:
    make_plan(compiled(), X, Y[:, None])


def test_sample_weights_count() -> None:
    # The gradient of one example is repeated, and has no noise.
    x, y = np.repeat(X[:1], 24, axis=0), np.repeat(Y[:1], 24)
    noise = []
    for weights in (None, np.arange(24) % 5):
        keras.utils.set_random_seed(5)
        model = classifier()
        model.layers[4].rate = 0.0
        plan = make_plan(model, x, y, loss=CROSSENTROPY, sample_weight=weights)
        noise.append(plan.noise_batch)
    assert noise[0] < 1e-3 < noise[1]


def test_plan_reads_no_more_than_eight_minibatches() -> None:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(3).repeat()
    read = []

    def batches() -> Any:
        for batch in data:
            read.append(1)
            yield batch

    make_plan(compiled(), batches(), None, batch_size=None)
    assert len(read) == 8
