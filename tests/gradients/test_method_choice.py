"""A layer's choice among methods that moves without a new trace."""

import numpy as np
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.extra_variance import extra_variances
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.inputs import GradientInputs
from tf_approxgrad.gradients.method_choice import MethodChoice
from tf_approxgrad.gradients.observer import RecordedCall

ARGUMENTS = ConvArguments.parse(1, "SAME", "NHWC", 1)
FILTERS = (3, 3, 2, 4)
ROWS = [
    tfag.RowSampledGradient(share, probability="product", keep_largest=True)
    for share in (0.5, 0.25)
]
METHODS = [tfag.ExactGradient(), *ROWS, tfag.MaxGradient(k=2)]


def inputs(seed: int) -> GradientInputs:
    x = tf.random.stateless_normal([4, 6, 6, 2], [seed, 1])
    dy = tf.random.stateless_normal([4, 6, 6, 4], [seed, 2])
    return GradientInputs(
        x, tf.constant(FILTERS), dy, ARGUMENTS, step=tf.constant(3), stream=1
    )


def traced(choice: MethodChoice, jit_compile: bool = False):
    @tf.function(jit_compile=jit_compile)
    def gradient(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
        found = GradientInputs(
            x,
            tf.constant(FILTERS),
            dy,
            ARGUMENTS,
            step=tf.constant(3),
            stream=1,
            choice=choice.read(),
        )
        return choice.filter_gradient(found, filter_gradient)

    return lambda of: gradient(of.input, of.out_backprop), gradient


@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_trace_has_the_gradient_of_each_method(jit_compile: bool) -> None:
    choice = MethodChoice(METHODS, FILTERS)
    run, function = traced(choice, jit_compile)
    of = inputs(1)
    for method in METHODS:
        choice.choose(method, step=0)
        expected = filter_gradient(method, of)
        np.testing.assert_allclose(run(of), expected, rtol=1e-4, atol=1e-4)
    assert function.experimental_get_tracing_count() == 1


def test_variances_are_those_of_the_passes_and_their_gradients_are_exact() -> None:
    choice = MethodChoice(METHODS, FILTERS)
    run, _ = traced(choice)
    run(inputs(9))
    choice.measure(step=0)
    batches = [inputs(seed) for seed in range(5)]
    gradients = []
    for of in batches:
        gradients.append(run(of).numpy())
        np.testing.assert_allclose(
            gradients[-1], filter_gradient(tfag.FullGradient(), of), atol=1e-4
        )
    assert choice.passes == 5
    found = choice.variances()
    differences = np.diff(gradients, axis=0)
    assert found.minibatch == pytest.approx((differences**2).sum() / 2 / 4, rel=1e-5)
    assert (found.passes, found.batch_size) == (5, 4)
    for number, method in enumerate(METHODS[1:]):
        expected = [
            extra_variances(
                [RecordedCall(of, filter_gradient)], METHODS[1:], tf.constant(3)
            ).numpy()[number]
            for of in batches
        ]
        assert found.extra[method] == pytest.approx(np.mean(expected), rel=1e-5)
    assert found.extra[tfag.ExactGradient()] == 0


def test_methods_without_a_formula_are_drawn_in_turns() -> None:
    shares = [tfag.TileSampledGradient(share) for share in (0.25, 0.5, 0.75)]
    choice = MethodChoice([tfag.ExactGradient(), *shares, *ROWS], FILTERS)
    run, _ = traced(choice)
    choice.measure(step=0)
    batches = [inputs(seed) for seed in range(4)]
    for of in batches:
        run(of)
    found = choice.variances()
    every = [
        extra_variances(
            [RecordedCall(of, filter_gradient)], [*shares, *ROWS], tf.constant(3)
        ).numpy()
        for of in batches
    ]
    # The first is drawn at passes 0 and 3, the others at 1 and at 2.
    expected = [
        (every[0][0] + every[3][0]) / 2,
        every[1][1],
        every[2][2],
        *np.mean(every, 0)[3:],
    ]
    actual = [found.extra[method] for method in (*shares, *ROWS)]
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_method_that_was_not_drawn_yet_has_no_variance() -> None:
    shares = [tfag.TileSampledGradient(share) for share in (0.25, 0.5, 0.75)]
    choice = MethodChoice([tfag.ExactGradient(), *shares], FILTERS)
    run, _ = traced(choice)
    choice.measure(step=0)
    run(inputs(1))
    run(inputs(2))
    assert np.isnan(choice.variances().extra[shares[2]])


def test_measuring_anew_forgets_the_former_passes() -> None:
    choice = MethodChoice(METHODS, FILTERS)
    run, _ = traced(choice)
    choice.measure(step=0)
    run(inputs(1))
    choice.measure(step=1)
    assert choice.passes == 0
    run(inputs(2))
    run(inputs(2))
    assert choice.variances().minibatch == pytest.approx(0, abs=1e-9)


def test_approximated_steps_are_counted() -> None:
    choice = MethodChoice(METHODS, FILTERS)
    assert choice.count_approximated(10) == 0
    choice.choose(ROWS[0], step=10)
    assert choice.count_approximated(14) == 4
    choice.measure(step=16)
    assert choice.method == tfag.ExactGradient()
    assert choice.count_approximated(20) == 6
    choice.choose(ROWS[1], step=20)
    assert choice.count_approximated(21) == 7
