"""approximate_gradients and strip_approximation: the same model, in and out."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad.model_layers import all_layers, approximated_layers

X = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype(np.float32)
SCHEDULE = tfag.Alternate("max")


def conv(filters=4, **arguments):
    return keras.layers.Conv2D(filters, 3, padding="same", **arguments)


@keras.saving.register_keras_serializable(package="tests")
class Block(keras.layers.Layer):
    """A layer of a user's own, with convolutions inside."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.first = conv(3, name="inner1")
        self.others = [conv(3, name="inner2")]

    def build(self, shape):
        self.first.build(shape)
        self.others[0].build((*shape[:-1], 3))
        self.built = True

    def call(self, x):
        return self.others[0](self.first(x))


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.convolution = conv(name="a")
        self.block = Block()

    def call(self, x):
        return self.block(self.convolution(x))


def sequential():
    return keras.Sequential([keras.Input((8, 8, 3)), conv(name="a"), conv(name="b")])


def functional():
    inputs = keras.Input((8, 8, 3), name="images")
    x = conv(name="a", kernel_regularizer=keras.regularizers.L2(0.1))(inputs)
    x = keras.layers.BatchNormalization()(x)
    frozen = conv(name="b", trainable=False)
    x = keras.layers.Dropout(0.5, seed=3)(frozen(x))
    return keras.Model(inputs, x, name="functional")


def nested():
    inputs = keras.Input((8, 8, 3))
    x = conv(3, name="outer")(inputs)
    return keras.Model(inputs, functional()(sequential_of_three()(x)))


def sequential_of_three():
    return keras.Sequential(
        [keras.Input((8, 8, 3)), conv(3, name="inner")], name="part"
    )


def shared():
    inputs = keras.Input((8, 8, 3))
    layer = conv(3, name="shared")
    return keras.Model(inputs, conv(name="last")(layer(layer(inputs))))


def several_ends():
    inputs = {name: keras.Input((8, 8, 3), name=name) for name in ("one", "two")}
    a, b = conv(name="a")(inputs["one"]), conv(name="b")(inputs["two"])
    return keras.Model(inputs, {"sum": keras.layers.Add()([a, b]), "a": a})


def with_block():
    return keras.Sequential([keras.Input((8, 8, 3)), Block(), conv(name="last")])


def subclassed():
    model = Subclassed()
    model(X)
    return model


def mixed():
    return keras.Sequential(
        [keras.Input((8, 8, 3)), conv(dtype="mixed_bfloat16"), conv(dtype="float64")]
    )


def network():
    return tfag.models.resnet(8, (8, 8, 3), width=0.2)


CLONED = {
    f.__name__: f
    for f in (
        sequential,
        functional,
        nested,
        shared,
        several_ends,
        with_block,
        mixed,
        network,
    )
}
MODELS = CLONED | {"subclassed": subclassed}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
each_cloned = pytest.mark.parametrize("make", CLONED.values(), ids=CLONED)


def call(model):
    names = [x.name for x in tf.nest.flatten(getattr(model, "inputs", None) or [])]
    inputs = {"one": X, "two": -X} if "one" in names else X
    return [value.numpy() for value in tf.nest.flatten(model(inputs))]


def classes(model):
    return [type(layer) for layer in all_layers(model)]


def assert_all_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def names(model):
    # Keras itself renames the InputLayer of a copy.
    layers = all_layers(model)
    return [x.name for x in layers if not isinstance(x, keras.layers.InputLayer)]


@each_model
def test_conversion_keeps_outputs_weights_and_names(make):
    model = make()
    expected, weights, layers = call(model), model.get_weights(), names(model)
    converted = tfag.approximate_gradients(model, SCHEDULE)
    assert_all_equal(call(converted), expected)
    assert_all_equal(converted.get_weights(), weights)
    assert names(converted) == layers
    assert keras.layers.Conv2D not in classes(converted)
    assert tfag.ApproxConv2D in classes(converted)


@each_cloned
def test_original_stays_as_it_is(make):
    model = make()
    before, weights = classes(model), model.get_weights()
    converted = tfag.approximate_gradients(model, SCHEDULE)
    assert converted is not model
    for weight in converted.weights:
        weight.assign(weight + 1)
    assert classes(model) == before
    assert_all_equal(model.get_weights(), weights)


def test_subclassed_model_is_converted_in_place():
    model = subclassed()
    variables = model.variables
    assert tfag.approximate_gradients(model, SCHEDULE) is model
    assert all(a is b for a, b in zip(model.variables, variables, strict=True))


@each_model
def test_strip_restores_classes_configs_weights_and_outputs(make):
    model = make()
    expected, weights = call(model), model.get_weights()
    convolutions = [
        layer.get_config()
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.Conv2D)
    ]
    plain = tfag.strip_approximation(tfag.approximate_gradients(model, SCHEDULE))
    assert tfag.ApproxConv2D not in classes(plain)
    assert_all_equal(call(plain), expected)
    assert_all_equal(plain.get_weights(), weights)
    assert [
        layer.get_config()
        for layer in all_layers(plain)
        if isinstance(layer, keras.layers.Conv2D)
    ] == convolutions


def test_strip_returns_a_plain_model_as_it_is():
    model = sequential()
    assert tfag.strip_approximation(model) is model


def compiled(make):
    keras.utils.set_random_seed(0)
    model = make()
    model.compile(
        keras.optimizers.Adam(0.01), "mse", metrics=["mae"], weighted_metrics=["mse"]
    )
    model.fit(X, tf.zeros_like(model(X)), epochs=2, batch_size=3, verbose=0)
    return model


@pytest.mark.parametrize("make", [sequential, with_block, subclassed])
@pytest.mark.parametrize("strip", [False, True])
def test_compiled_model_goes_on_training_as_the_original_would(make, strip):
    original, copy = compiled(make), compiled(make)
    copy = tfag.approximate_gradients(copy, tfag.Constant("full"))
    if strip:
        copy = tfag.strip_approximation(copy)
    assert int(copy.optimizer.iterations) == 4
    assert copy.optimizer.learning_rate == original.optimizer.learning_rate
    assert_all_equal(copy.optimizer.variables, original.optimizer.variables)
    target = tf.zeros_like(original(X))
    histories = [
        model.fit(X, target, epochs=2, batch_size=3, verbose=0, shuffle=False).history
        for model in (original, copy)
    ]
    assert histories[0] == histories[1]
    assert set(histories[1]) == {"loss", "mae", "mse"}
    assert_all_equal(copy.get_weights(), original.get_weights())


@pytest.mark.parametrize(
    "make", [f for name, f in CLONED.items() if name != "with_block"]
)
def test_keras_file_keeps_the_schedule_and_the_layers_indices(make, tmp_path):
    model = tfag.approximate_gradients(make(), SCHEDULE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_all_equal(call(loaded), call(model))
    for a, b in zip(
        approximated_layers(loaded),
        approximated_layers(model),
        strict=True,
    ):
        assert a.assignment.schedule == SCHEDULE
        assert a.assignment.index == b.assignment.index > 0


def test_convolutions_that_lost_their_conversion_in_a_file_are_noticed(tmp_path):
    # A layer of the user's own makes plain convolutions again when it is loaded.
    model = tfag.approximate_gradients(with_block(), SCHEDULE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.compile("sgd", "mse")
    before = loaded.get_weights()
    with pytest.raises(ValueError, match=r"inner1, inner2.*approximate_gradients"):
        loaded.fit(X, X, callbacks=[tfag.ApproximationCallback()], verbose=0)
    assert_all_equal(loaded.get_weights(), before)
    again = tfag.approximate_gradients(loaded, SCHEDULE)
    tfag.bind_step(again, tf.Variable(0))


def test_weight_files_of_original_and_converted_fit_each_other(tmp_path):
    model = functional()
    converted = tfag.approximate_gradients(model, SCHEDULE)
    for weight in model.weights:
        weight.assign(weight + 1)
    model.save_weights(tmp_path / "original.weights.h5")
    converted.load_weights(tmp_path / "original.weights.h5")
    assert_all_equal(converted.get_weights(), model.get_weights())


def test_seed_generators_go_on_where_they_were():
    model = functional()
    model(X, training=True)
    converted = tfag.approximate_gradients(model, SCHEDULE)
    assert_all_equal([model(X, training=True)], [converted(X, training=True)])


@pytest.mark.parametrize(
    ("model", "schedule", "error", "words"),
    [
        ("a model", SCHEDULE, TypeError, ("model='a model'", "keras.Model")),
        (Subclassed, SCHEDULE, ValueError, ("built", "batch")),
        (sequential, "alternate", TypeError, ("schedule='alternate'", "Schedule")),
        (sequential, tfag.MaxGradient(), TypeError, ("schedule=MaxGradient(",)),
        (sequential, tfag.Constant("max", "c"), ValueError, ("'c'", "'a', 'b'")),
        (sequential, tfag.Constant("max", [3]), ValueError, ("3", "2")),
        (
            sequential,
            tfag.TableSchedule([["max"], ["full"], ["max"]]),
            ValueError,
            ("table", "2 rows", "got 3"),
        ),
        (
            lambda: keras.Sequential(
                [keras.Input((4,)), keras.layers.Dense(2)], name="m"
            ),
            SCHEDULE,
            ValueError,
            ("'m'", "no convolution"),
        ),
        (
            lambda: keras.Sequential(
                [keras.Input((8, 8, 4)), conv(groups=2)], name="m"
            ),
            SCHEDULE,
            ValueError,
            ("'m'", "no convolution", "groups=2 isn't supported"),
        ),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(model, schedule, error, words):
    model = model() if callable(model) else model
    is_model = isinstance(model, keras.Model)
    before = (classes(model), model.get_weights()) if is_model else None
    with pytest.raises(error) as caught:
        tfag.approximate_gradients(model, schedule)
    for word in words:
        assert word in str(caught.value)
    if is_model:
        assert classes(model) == before[0]
        assert_all_equal(model.get_weights(), before[1])
