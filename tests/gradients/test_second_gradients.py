"""Gradients of gradients: exact where they can be had, refused in words elsewhere."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad.gradients import op_library

ROOT = Path(__file__).parents[2]
COMPUTED = ["random", "max", "sampled", "row-sampled"]


def second_gradients(
    of: str,
    run_in_graph: bool = False,
    channels: tuple[int, int] = (3, 4),
    size: int = 8,
    **arguments: object,
) -> list[tf.Tensor]:
    """Gradients by X and F of |dX|**2 or |dF|**2, the square of a first gradient."""
    x = tf.random.stateless_normal([2, size, size, channels[0]], [1, 0])
    filters = tf.random.stateless_normal([3, 3, *channels], [2, 0])
    chosen = {"input": x, "filters": filters}[of]

    def differentiate() -> list[tf.Tensor]:
        with tf.GradientTape() as outer:
            outer.watch([x, filters])
            with tf.GradientTape() as inner:
                inner.watch([x, filters])
                y = tfag.conv2d(x, filters, 1, "SAME", step=3, **arguments)
                loss = tf.reduce_sum(tf.sin(y))
            penalty = tf.reduce_sum(inner.gradient(loss, chosen) ** 2)
        return outer.gradient(penalty, [x, filters])

    return (tf.function(differentiate) if run_in_graph else differentiate)()


@pytest.mark.parametrize("run_in_graph", [False, True])
@pytest.mark.parametrize("method", ["zero", *COMPUTED])
def test_gradient_penalty_is_that_of_the_full_gradient_by_the_input(
    method: str, run_in_graph: bool
) -> None:
    """What the inner gradient approximates, the penalty doesn't contain."""
    expected, _ = second_gradients("input", method="full")
    actual, by_filters = second_gradients("input", run_in_graph, method=method)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    assert np.isfinite(by_filters).all()


@pytest.mark.parametrize("run_in_graph", [False, True])
@pytest.mark.parametrize("method", COMPUTED)
def test_gradient_of_an_approximate_filter_gradient_is_refused(
    method: str, run_in_graph: bool
) -> None:
    with pytest.raises(NotImplementedError, match="use method='full'"):
        second_gradients("filters", run_in_graph, method=method)


@pytest.mark.parametrize("run_in_graph", [False, True])
@pytest.mark.parametrize("method", COMPUTED)
def test_gradient_of_an_approximate_input_gradient_is_refused(
    method: str, run_in_graph: bool
) -> None:
    with pytest.raises(NotImplementedError, match="leave input_gradient=None"):
        second_gradients("input", run_in_graph, method="zero", input_gradient=method)


@pytest.mark.parametrize("run_in_graph", [False, True])
@pytest.mark.parametrize("method", ["exact", "winograd"])
@pytest.mark.parametrize("of", ["input", "filters"])
def test_gradients_by_exact_kernels_have_the_second_gradients_of_full(
    of: str, method: str, run_in_graph: bool
) -> None:
    sizes = {"channels": (8, 24)}
    expected = second_gradients(of, method="full", **sizes)
    actual = second_gradients(
        of, run_in_graph, method=method, input_gradient=method, **sizes
    )
    for one, other in zip(actual, expected, strict=True):
        assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(other)


def test_filter_gradient_of_all_positions_has_second_gradients() -> None:
    sizes = {"channels": (3, 4), "size": 1}
    expected = second_gradients("filters", method="full", **sizes)
    actual = second_gradients("filters", method="exact", **sizes)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("input_gradient", [None, "sampled"])
def test_gradient_penalty_of_a_model_whose_schedule_switches(
    input_gradient: str | None,
) -> None:
    x = tf.random.stateless_normal([2, 28, 28, 1], [1, 0])
    model = tfag.approximate_gradients(
        tfag.models.cnn2(input_shape=(28, 28, 1)),
        tfag.Alternate("max"),
        input_gradient=input_gradient,
    )
    tfag.bind_step(model, tf.Variable(1, dtype=tf.int64))

    @tf.function
    def penalty_gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(model(x, training=True) ** 2)
            penalty = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        return outer.gradient(penalty, model.trainable_variables)

    if input_gradient is None:
        assert all(np.isfinite(gradient).all() for gradient in penalty_gradients())
    else:
        with pytest.raises(NotImplementedError, match="leave input_gradient=None"):
            penalty_gradients()


def test_every_op_has_a_gradient_or_says_why_not() -> None:
    registered = {
        name
        for path in (ROOT / "cc" / "ops").glob("*.cc")
        for name in re.findall(r'REGISTER\w*_OP(?:_OF)?\("(\w+)"', path.read_text())
    }
    assert len(registered) > 5
    text = Path(op_library.__file__).read_text()
    refused = set(re.findall(r'^    "(Approx\w+)",$', text, re.MULTILINE))
    differentiable = set(re.findall(r'RegisterGradient\("(\w+)"\)', text))
    assert registered == refused | differentiable
