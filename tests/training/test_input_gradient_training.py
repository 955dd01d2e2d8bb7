"""Models whose input gradients are approximated: where, when, and how they train."""

import keras
import model_zoo
import numpy as np
import pytest
import tensorflow as tf
from input_gradient_models import METHOD, X, Y, fit, make_model
from marks import slowly
from recording import switches

import tf_approxgrad as tfag
from tf_approxgrad.gradients.observer import Observer, observed_by
from tf_approxgrad.methods import FullGradient


def kernel_gradients(model):
    """A function of the step that returns the gradients of the model's kernels."""
    counter = tf.Variable(0, dtype=tf.int64)
    tfag.bind_step(model, counter)
    kernels = [layer.kernel.value for layer in model.layers]

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X, training=True) - Y) ** 2)
        return tape.gradient(loss, kernels)

    def at(step):
        counter.assign(step)
        return [gradient.numpy() for gradient in gradients()]

    at.graph = lambda: gradients.get_concrete_function().graph
    return at


def test_input_gradient_is_approximate_at_the_cells_that_are_not_full():
    schedule = tfag.TableSchedule([["full"] * 2, ["full"] * 2, ["full", METHOD]])
    exact = kernel_gradients(make_model(schedule, None))
    found = kernel_gradients(make_model(schedule))
    for step in range(4):
        pairs = zip(found(step), exact(step), strict=True)
        same = [np.allclose(one, other, 1e-5, 1e-7) for one, other in pairs]
        # At odd steps the third layer's input gradient is drawn, and its filter
        # gradient is the same draw in both models.
        assert same == ([True, True, True] if step % 2 == 0 else [False, False, True])


def test_mean_gradient_of_earlier_layers_over_many_steps_is_the_exact_one():
    schedule = tfag.TableSchedule([["full"], [METHOD]])
    (exact, _) = kernel_gradients(make_model(schedule, None, layers=2))(0)
    found = kernel_gradients(make_model(schedule, layers=2))
    draws = np.array([found(step)[0] for step in range(300)])
    deviation = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    # Four and a half deviations for the largest of 54 elements.
    assert np.all(np.abs(draws.mean(axis=0) - exact) <= 4.5 * deviation)
    assert np.all(deviation > 0)


def test_nothing_changes_unless_it_is_asked_for():
    schedule = tfag.Alternate("max")
    model = make_model(schedule, None)
    plain = kernel_gradients(model)
    full = kernel_gradients(make_model(schedule, "full"))
    assert len(switches(plain.graph())) == len(switches(full.graph())) == 1
    for step in range(2):
        for one, other in zip(plain(step), full(step), strict=True):
            np.testing.assert_array_equal(one, other)
    assert model.layers[0].input_gradient is None
    assert "input_gradient" not in model.layers[0].get_config()


def test_row_that_never_changes_has_no_switch():
    assert switches(kernel_gradients(make_model(tfag.Constant("max"))).graph()) == []


def test_first_layer_does_not_pay_for_an_input_gradient_that_nobody_needs():
    graph = kernel_gradients(make_model(tfag.EveryNthStep("max"), layers=2)).graph()
    assert len(switches(graph)) == 4
    # What runs is what the outputs and what must run depend on.
    needed, waiting = set(), [x.op for x in graph.outputs] + list(graph.control_outputs)
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [x.op for x in operation.inputs]
            waiting += operation.control_inputs
    kinds = [x.type for x in needed if x.type in ("Case", "StatelessCase")]
    assert len(kinds) == 3


@pytest.mark.parametrize("training", [False, None])
def test_outside_training_the_input_gradient_is_exact(training):
    layer = tfag.ApproxConv2D(3, 3, method="zero", input_gradient="zero")
    plain = keras.layers.Conv2D(3, 3)
    for one in (layer, plain):
        one.build(X.shape)
    plain.set_weights(layer.get_weights())
    x = tf.constant(X)

    def gradient(layer, **call):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, **call)
        return tape.gradient(y, x)

    np.testing.assert_array_equal(gradient(layer, training=training), gradient(plain))
    assert not np.any(gradient(layer, training=True))


@pytest.mark.filterwarnings("ignore:input_gradient=:UserWarning")
def test_gradients_are_observed_behind_exact_input_gradients():
    model = make_model(tfag.Constant("max"), "zero", layers=2)
    with observed_by(Observer()) as observer, tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(X, training=True) - Y) ** 2)
        kernel = model.layers[0].kernel.value
        found = tape.gradient(loss, kernel)
    assert np.any(found)
    (call,) = observer.filter_calls[model.layers[0].gradient_policy]
    np.testing.assert_array_equal(call.gradient(FullGradient()), found)
    assert np.any(call.gradient(tfag.MaxGradient()) != found)


SCHEDULES = {
    "alternate": tfag.Alternate("max"),
    "constant": tfag.Constant(METHOD),
    "piecewise": tfag.Piecewise([3, 8], ["zero", tfag.EveryNthStep(METHOD), "full"]),
}


@pytest.mark.parametrize(
    "method",
    [METHOD, tfag.RowSampledGradient(0.3), "random", tfag.MaxGradient(2, scale=1.0)],
    ids=str,
)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.filterwarnings("ignore:input_gradient=:UserWarning")
@pytest.mark.slow
def test_fit_trains_alike_compiled_eagerly_and_several_steps_at_a_time(
    schedule, method
):
    ways = {"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 4}
    plain = fit(make_model(SCHEDULES[schedule], method), jit_compile=False)
    for way in ways:
        arguments = {"jit_compile": False} | way
        found = fit(make_model(SCHEDULES[schedule], method), **arguments)
        for one, other in zip(found, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_switches_one_after_the_other_compile_on_maps_of_many_positions():
    """XLA would compute 2304 positions' running sums to see if they are constants."""
    x = np.random.default_rng(2).normal(size=(4, 48, 48, 2)).astype(np.float32)

    def trained(jit_compile):
        keras.utils.set_random_seed(1)
        convolutions = [keras.layers.Conv2D(2, 3, padding="same") for _ in range(2)]
        model = tfag.approximate_gradients(
            keras.Sequential([keras.Input(x.shape[1:]), *convolutions]),
            tfag.EveryNthStep("sampled", n=2),
            input_gradient="sampled",
        )
        model.compile("sgd", "mse", jit_compile=jit_compile)
        callbacks = [tfag.ApproximationCallback()]
        model.fit(x, x, batch_size=2, verbose=0, callbacks=callbacks)
        return model.get_weights()

    for one, other in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "dtype", ["mixed_float16", *slowly("mixed_bfloat16", "float64")]
)
def test_fit_trains_in_every_type(dtype):
    model = make_model(tfag.EveryNthStep("sampled", n=2), dtype=dtype)
    before = model.get_weights()
    for old, new in zip(before, fit(model, jit_compile=False), strict=True):
        assert np.all(np.isfinite(new))
        assert np.any(old != new)


@pytest.mark.parametrize("make", [model_zoo.other_kinds, model_zoo.nested])
def test_other_layers_and_models_train(make):
    model = tfag.approximate_gradients(
        make(), tfag.EveryNthStep("max", n=2), input_gradient=METHOD
    )
    y = tf.nest.map_structure(lambda z: np.zeros(z.shape), model_zoo.call(model))
    model.compile("sgd", "mse", jit_compile=False)
    callback = tfag.ApproximationCallback()
    model.fit(model_zoo.X, y, batch_size=2, verbose=0, callbacks=[callback])
    assert all(np.all(np.isfinite(weight)) for weight in model.get_weights())


def test_callback_says_that_input_gradients_are_approximate(capsys):
    for input_gradient in (METHOD, None):
        model = make_model(tfag.EveryNthLayer("max", n=2, start=2), input_gradient)
        model.compile("sgd", "mse")
        callbacks = [tfag.ApproximationCallback()]
        model.fit(X, Y, verbose=2, callbacks=callbacks)
        said = f"There the input gradients of 1 of them are computed by {METHOD}"
        assert (said in capsys.readouterr().out) == (input_gradient is not None)


def test_method_that_draws_refuses_to_train_without_the_step():
    layer = tfag.ApproxConv2D(3, 3, method="max", input_gradient="sampled", name="conv")
    with pytest.raises(RuntimeError, match=r"'conv' follows MaxGradient.*Sampled.*bin"):
        with tf.GradientTape() as tape:
            y = layer(tf.constant(X), training=True)
        tape.gradient(y, layer.kernel.value)
    exact = tfag.ApproxConv2D(3, 3, method="full", input_gradient="sampled")
    with tf.GradientTape() as tape:
        y = exact(tf.constant(X), training=True)
    assert np.any(tape.gradient(y, exact.kernel.value))


def test_graph_that_was_traced_for_another_input_gradient_is_stale():
    model = make_model(tfag.Constant("max"))
    policy = model.layers[0].gradient_policy
    before = policy.graph_key()
    policy.input_method = tfag.SampledGradient(k=3)
    assert policy.graph_key() != before
