"""The method `random`: what its numbers depend on, and how they are distributed."""

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import filter_gradient
from marks import slowly
from reference import Problem

import tf_approxgrad as tfag
from tf_approxgrad.gradients import op_library

DTYPES = ["float32", "float64", "bfloat16", "half"]


def random_gradient(
    method: tfag.RandomGradient, step: Any, dtype: str = "float32"
) -> np.ndarray:
    problem = Problem(n=4, size=(4, 3), ci=48, co=64, dtype=dtype)
    return filter_gradient(problem, *problem.arrays(), method, step)


def test_random_is_a_function_of_seed_and_step() -> None:
    method = tfag.RandomGradient(seed=7)
    first = random_gradient(method, 3)
    for step in (3, np.int64(3), tf.constant(3), tf.constant(3, tf.int64)):
        np.testing.assert_array_equal(random_gradient(method, step), first)
    counter = tf.Variable(3, dtype=tf.int64)
    np.testing.assert_array_equal(random_gradient(method, counter), first)
    others = [random_gradient(method, step) for step in (0, 4, 2**31, 2**40 + 3)]
    others += [random_gradient(tfag.RandomGradient(seed=s), 3) for s in (0, 8, -7, 3)]
    for index, other in enumerate(others):
        for earlier in [first, *others[:index]]:
            assert abs(np.corrcoef(earlier.ravel(), other.ravel())[0, 1]) < 0.03
    # Neither the program's seed nor earlier draws have a say.
    tf.random.set_seed(1)
    np.testing.assert_array_equal(random_gradient(method, 3), first)


def test_random_of_one_step_differs_from_another_under_tf_function() -> None:
    problem = Problem()
    x, dy = problem.arrays()
    method = tfag.RandomGradient(seed=1)

    @tf.function
    def draw(step: tf.Tensor) -> tf.Tensor:
        return tfag.conv2d_backprop_filter(
            x, problem.filter_sizes, dy, 1, "SAME", method=method, step=step
        )

    for step in (0, 1, 9):
        expected = filter_gradient(problem, x, dy, method, step)
        np.testing.assert_array_equal(draw(tf.constant(step)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stddev", [None, 2.5, 0.0])
def test_random_is_normal_with_its_deviation(stddev: float | None, dtype: str) -> None:
    """Each bound is four deviations of the statistic: 1 in 16,000 seeds fails it."""
    numbers = random_gradient(tfag.RandomGradient(stddev, seed=11), 2, dtype)
    numbers = numbers.astype(np.float64).ravel()
    expected = 1 / 4 if stddev is None else stddev  # N = 4
    if not expected:
        assert not numbers.any()
        return
    z = np.sort(numbers / expected)
    count = z.size
    assert abs(z.mean()) < 4 / math.sqrt(count)
    assert abs(z.std() - 1) < 4 / math.sqrt(2 * count)
    assert abs(np.mean(z**3)) < 4 * math.sqrt(15 / count)
    assert abs(np.mean(z**4) - 3) < 4 * math.sqrt(96 / count)
    # Kolmogorov and Smirnov's distance, at their 1 in 20,000.
    normal = np.array([math.erf(value / math.sqrt(2)) / 2 + 0.5 for value in z])
    rank = np.arange(count) / count
    distance = max(np.max(normal - rank), np.max(rank + 1 / count - normal))
    rounding = {"bfloat16": 0.002, "half": 0.0003}.get(dtype, 0)
    assert distance < 2.3 / math.sqrt(count) + rounding


def test_random_elements_are_independent() -> None:
    numbers = random_gradient(tfag.RandomGradient(seed=5), 0).reshape(-1, 64)
    bound = 4.5 / math.sqrt(numbers.size)
    for axis in (0, 1):
        rolled = np.roll(numbers, 1, axis)
        assert abs(np.corrcoef(numbers.ravel(), rolled.ravel())[0, 1]) < bound
    assert len(np.unique(numbers)) > 0.99 * numbers.size


@pytest.mark.parametrize("function", ["conv2d", "conv2d_backprop_filter"])
def test_random_without_a_step_is_refused(function: str) -> None:
    x, dy = Problem().arrays()
    call = {
        "conv2d": lambda **options: tfag.conv2d(x, tf.ones([3, 3, 3, 5]), **options),
        "conv2d_backprop_filter": lambda **options: tfag.conv2d_backprop_filter(
            x, [3, 3, 3, 5], dy, **options
        ),
    }[function]
    with pytest.raises(ValueError, match=r"step.*None"):
        call(strides=1, padding="SAME", method=tfag.RandomGradient())


IMAGE = (6, 6, 2)
DRAWN = tfag.Constant(tfag.RandomGradient(stddev=1.0, seed=5))
COUNTER = 9


def backbone(layers: int = 2, schedule: tfag.Schedule = DRAWN) -> keras.Model:
    convolutions = [keras.layers.Conv2D(2, 3, padding="same") for _ in range(layers)]
    model = keras.Sequential([keras.Input(IMAGE), *convolutions])
    return tfag.approximate_gradients(model, schedule)


def one_after_the_other(*parts: keras.Model) -> keras.Model:
    inputs = outputs = keras.Input(IMAGE)
    for part in parts:
        outputs = part(outputs)
    return keras.Model(inputs, outputs)


def drawn(model: keras.Model, jit_compile: bool = False) -> list[np.ndarray]:
    """The gradients of the model's kernels, in order."""
    tfag.bind_step(model, tf.Variable(COUNTER, dtype=tf.int64))
    kernels = [v.value for v in model.trainable_weights if v.name == "kernel"]

    @tf.function(jit_compile=jit_compile)
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(tf.ones((1, *IMAGE)), training=True))
        return tape.gradient(loss, kernels)

    return [gradient.numpy() for gradient in gradients()]


def numbers_of(layer: int) -> np.ndarray:
    numbers = op_library.approx_random_filter_gradient(
        filter_sizes=[3, 3, 2, 2],
        out_backprop=tf.zeros((1, *IMAGE)),
        step=tf.constant(COUNTER, tf.int64),
        seed=5,
        layer=layer,
        stddev=1.0,
        mean_over_batch=False,
    )
    return numbers.numpy()


def assert_numbers(found: list[np.ndarray], layers: list[int]) -> None:
    for gradient, layer in zip(found, layers, strict=True):
        np.testing.assert_allclose(gradient, numbers_of(layer), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, *slowly(True)])
def test_layers_of_two_converted_models_in_one_draw_different_numbers(
    jit_compile: bool,
) -> None:
    """Both models have layers 1 and 2."""
    model = one_after_the_other(backbone(), backbone())
    assert_numbers(drawn(model, jit_compile), [1, 2, 3, 4])
    # Each by itself draws what its own indices say.
    for part in model.layers[1:]:
        assert_numbers(drawn(part), [1, 2])
    assert_numbers(drawn(model), [1, 2, 3, 4])


def test_no_layer_draws_the_numbers_of_another_ones_index() -> None:
    second = backbone(3)
    shorter = keras.Sequential([keras.Input(IMAGE), *second.layers[1:]])
    assert_numbers(drawn(shorter), [2, 3])
    assert_numbers(drawn(one_after_the_other(backbone(), shorter)), [1, 2, 4, 3])


def test_layers_draw_by_their_index_whichever_are_converted() -> None:
    model = keras.models.clone_model(tfag.strip_approximation(backbone(4)))
    model = tfag.approximate_gradients(model, DRAWN, [2, 4])
    _, second, _, fourth = drawn(model)
    assert_numbers([second, fourth], [2, 4])


def test_schedule_reads_the_index_and_not_the_number_that_is_drawn_by() -> None:
    first_layer = tfag.TableSchedule([[tfag.RandomGradient(1.0, 5)], ["zero"]])
    model = one_after_the_other(*(backbone(2, first_layer) for _ in range(2)))
    found = drawn(model)
    assert_numbers([found[0], found[2]], [1, 3])
    assert not np.any(found[1])
    assert not np.any(found[3])
