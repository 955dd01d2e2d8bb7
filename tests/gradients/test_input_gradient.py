"""The approximate input gradient: the exact one of the positions that are kept."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from gradients import weights_of
from input_reference import allowed_error, exact_of_rows, filters_of, max_rows
from marks import slowly, slowly_but
from recording import Recording, operations
from reference import GEOMETRIES, Problem, assert_gradient
from row_reference import row_weights, uniform
from unbiasedness import is_unbiased, of_many_steps, uneven_problem

import tf_approxgrad as tfag
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.input_gradient import input_gradient, is_biased
from tf_approxgrad.gradients.inputs import GradientInputs

PROBLEM = Problem((2, 3), n=3, size=(7, 9), ci=3, co=4, strides=(2, 1))
STEP = 2**32 + 5
METHODS = {
    "zero": tfag.ZeroGradient(),
    "random": tfag.RandomGradient(seed=3),
    "max": tfag.MaxGradient(3, scale=1.0),
    "max k=1": tfag.MaxGradient(scale="batch"),
    "sampled": tfag.SampledGradient(4, scale=0.5, seed=-2),
    "row-sampled": tfag.RowSampledGradient(0.3, seed=4),
    "row-sampled product": tfag.RowSampledGradient(
        0.2, "batch", probability="product", keep_largest=True
    ),
}
each_method = pytest.mark.parametrize("name", METHODS)


def computed(problem, filters, x, dy, method, step=STEP):
    """dX as a tensor."""
    backprop = GradientInputs(
        tf.convert_to_tensor(x),
        tf.constant(problem.filter_sizes),
        tf.convert_to_tensor(dy),
        ConvArguments.parse(**problem.function_arguments()),
        tf.convert_to_tensor(filters),
        step=tf.convert_to_tensor(step),
    )
    result = input_gradient(method, backprop)
    assert result.dtype == x.dtype
    assert result.shape.is_compatible_with(x.shape)
    return result


def expected(problem, filters, x, dy, method):
    """dX in float64, and how far a right result may be from it."""
    if isinstance(method, tfag.MaxGradient):
        rows, bounds = max_rows(problem, dy, method.k)
    elif isinstance(method, tfag.SampledGradient):
        channels = problem.channels(dy)
        rows = problem.drawn_weights(channels, method.k, method.seed, STEP, 0)
        bounds = np.abs(rows)
    else:
        number = uniform(method.seed, 0, STEP)
        options = method.probability, method.keep_largest
        weights = row_weights(problem, x, dy, method.share, number, *options)
        rows = weights.reshape(problem.n, -1, 1) * problem.channels(dy)
        bounds = np.abs(rows)
    scale = 1 / problem.n if method.scale == "batch" else method.scale
    rows, bounds = scale * rows, abs(scale) * bounds
    allowed = allowed_error(problem, filters, rows, bounds)
    return exact_of_rows(problem, filters, rows), allowed


def assert_is_the_reference(problem, method):
    (x, dy), filters = problem.arrays(), filters_of(problem)
    actual = computed(problem, filters, x, dy, method)
    assert_gradient(actual, *expected(problem, filters, x, dy, method))


KEEPING = ["max", "sampled", "row-sampled", "row-sampled product"]


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_input_gradient_is_the_reference(geometry, name):
    assert_is_the_reference(GEOMETRIES[geometry], METHODS[name])


@pytest.mark.parametrize("name", [*KEEPING, "max k=1"])
@pytest.mark.parametrize(
    ("dtype", "data_format"),
    [
        ("float32", "NCHW"),
        ("float64", "NHWC"),
        ("bfloat16", "NHWC"),
        ("bfloat16", "NCHW"),
        ("half", "NHWC"),
    ],
)
def test_input_gradient_of_every_type_is_the_reference(dtype, data_format, name):
    problem = dataclasses.replace(PROBLEM, dtype=dtype, data_format=data_format)
    assert_is_the_reference(problem, METHODS[name])


@pytest.mark.parametrize(
    "method",
    [
        tfag.FullGradient(),
        tfag.MaxGradient(10**6, scale=1.0),
        tfag.SampledGradient(10**6),
        tfag.RowSampledGradient(share=1.0),
    ],
    ids=lambda method: method.label,
)
@pytest.mark.parametrize("geometry", ["3x3", "5x3 all", "5x3 dilated", "explicit"])
def test_input_gradient_of_all_positions_is_the_exact_one(geometry, method):
    problem = GEOMETRIES[geometry]
    (x, dy), filters = problem.arrays(), filters_of(problem)
    actual = computed(problem, filters, x, dy, method)
    rows = problem.channels(dy)
    allowed = allowed_error(problem, filters, rows, np.abs(rows))
    assert_gradient(actual, exact_of_rows(problem, filters, rows), allowed)


@pytest.mark.parametrize("name", slowly_but(["row-sampled product"], METHODS))
@pytest.mark.parametrize(
    "geometry", ["5x3 all", *slowly("5x3 dilated", "explicit dilated")]
)
def test_compiled_input_gradient_is_the_same_without_our_ops(geometry, name):
    problem, method = GEOMETRIES[geometry], METHODS[name]
    (x, dy), filters = problem.arrays(), filters_of(problem)
    step = tf.constant(STEP, tf.int64)

    @tf.function(jit_compile=True)
    def compiled(x, dy):
        return computed(problem, filters, x, dy, method, step)

    kinds = operations(compiled.get_concrete_function(x, dy).graph)
    assert not any(kind.startswith("Approx") for kind in kinds)
    plain = computed(problem, filters, x, dy, method).numpy()
    tolerance = 1e-5 * np.abs(plain).max()
    np.testing.assert_allclose(compiled(x, dy), plain, 1e-5, tolerance)


def test_sizes_that_are_known_only_at_run_time_give_the_same():
    (x, dy), filters = PROBLEM.arrays(), filters_of(PROBLEM)
    unknown = tf.TensorSpec([None] * 4, tf.float32)
    for name in KEEPING:

        @tf.function(input_signature=[unknown, unknown])
        def compute(x, dy, method=METHODS[name]):
            return computed(PROBLEM, filters, x, dy, method)

        plain = computed(PROBLEM, filters, x, dy, METHODS[name])
        np.testing.assert_allclose(compute(x, dy), plain, 1e-5, 1e-5)


@pytest.mark.parametrize("name", ["max", "max k=1", "sampled"])
def test_filter_and_input_gradient_keep_the_same_positions(name):
    # The filter gradient of an identity for X, and the input gradient of an identity
    # for F, are the weights themselves.
    method = METHODS[name]
    dy = np.random.default_rng(4).normal(size=(20, 6)).astype(np.float32)
    problem = Problem((1, 1), n=1, size=(1, 20), ci=6, co=6)
    filters = np.eye(6, dtype=np.float32).reshape(1, 1, 6, 6)
    rows = dy.reshape(1, 1, 20, 6)
    of_input = computed(problem, filters, rows, rows, method).numpy()[0, 0]
    weights = weights_of(dy, method, STEP)
    assert np.count_nonzero(weights) < weights.size
    np.testing.assert_allclose(of_input, weights, rtol=1e-5, atol=1e-6)


def test_filter_and_input_gradient_draw_the_same_rows():
    # Each row of X is a unit vector of its own, and F turns dY into itself.
    method = METHODS["row-sampled"]
    rng = np.random.default_rng(4)
    dy = rng.normal(size=(1, 1, 20, 20)).astype(np.float32)
    problem = Problem((1, 1), n=1, size=(1, 20), ci=20, co=20)
    eye = np.eye(20, dtype=np.float32)
    x, filters = eye.reshape(1, 1, 20, 20), eye.reshape(1, 1, 20, 20)
    of_input = computed(problem, filters, x, dy, method).numpy()[0, 0]
    of_filters = tfag.conv2d_backprop_filter(
        x, [1, 1, 20, 20], dy, 1, "VALID", method=method, step=STEP
    ).numpy()[0, 0]
    assert 0 < np.count_nonzero(of_filters.any(axis=1)) < 20
    np.testing.assert_allclose(of_input, of_filters, rtol=1e-5)


def test_random_draws_normal_numbers_that_are_not_the_filters():
    problem = Problem((3, 3), n=4, size=(16, 16), ci=8, co=8)
    (x, dy), filters = problem.arrays(), filters_of(problem)
    method = tfag.RandomGradient(seed=-3)
    numbers = computed(problem, filters, x, dy, method).numpy()
    # 8192 numbers: four deviations of their standard deviation are 3%.
    assert numbers.std() == pytest.approx(1 / 4, rel=0.04)
    assert abs(numbers.mean()) < 4 / 4 / np.sqrt(numbers.size)
    again = computed(problem, filters, x, dy, method).numpy()
    np.testing.assert_array_equal(again, numbers)
    other = computed(problem, filters, x, dy, method, STEP + 1).numpy()
    assert not np.any(other == numbers)
    of_filters = tfag.conv2d_backprop_filter(
        x, problem.filter_sizes, dy, 1, "SAME", method=method, step=STEP
    )
    assert not np.any(numbers.ravel()[:576] == of_filters.numpy().ravel())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", KEEPING)
def test_nan_and_infinity_stay_visible_in_the_input_gradient(name, bad):
    (x, dy), filters = PROBLEM.arrays(), filters_of(PROBLEM)
    dy[1, 2, 3, 1] = bad
    actual = computed(PROBLEM, filters, x, dy, METHODS[name]).numpy()
    assert not np.isfinite(actual[1]).all()


@pytest.mark.parametrize("name", ["max", "sampled", "row-sampled"])
def test_empty_batch_has_an_empty_input_gradient(name):
    problem = dataclasses.replace(PROBLEM, n=0)
    (x, dy), filters = problem.arrays(), filters_of(problem)
    actual = computed(problem, filters, x, dy, METHODS[name])
    assert actual.shape == (0, 7, 9, 3)


# --- Bias ----------------------------------------------------------------------------


def of_steps(problem, x, dy, method, draws=1000):
    filters = filters_of(problem)
    exact = exact_of_rows(problem, filters, problem.channels(dy))
    return of_many_steps(
        lambda step: computed(problem, filters, x, dy, method, step), draws
    ), exact


UNBIASED = [
    tfag.SampledGradient(2, seed=1),
    *slowly(tfag.RowSampledGradient(0.2, seed=1)),
    tfag.RowSampledGradient(0.2, seed=1, keep_largest=True),
]


@pytest.mark.parametrize("method", UNBIASED, ids=lambda method: method.label)
def test_mean_input_gradient_of_many_steps_is_the_exact_one(method):
    draws, exact = of_steps(*uneven_problem(), method)
    assert draws.std(axis=0).max() > 0
    assert is_unbiased(draws, exact)
    assert not is_biased(method)


def test_rows_whose_patch_is_zero_bias_the_input_gradient_by_product():
    problem, x, dy = uneven_problem()
    x[:, :4] = 0
    method = tfag.RowSampledGradient(0.3, probability="product")
    draws, exact = of_steps(problem, x, dy, method)
    assert not is_unbiased(draws, exact)
    assert is_biased(method)
    by_norm = tfag.RowSampledGradient(0.3)
    assert is_unbiased(*of_steps(problem, x, dy, by_norm))


def test_the_check_finds_a_bias_of_a_few_percent():
    method = tfag.SampledGradient(5, scale=1.05)
    assert not is_unbiased(*of_steps(*uneven_problem(), method))
    assert is_biased(method)


@pytest.mark.parametrize("name", ["zero", "random", "max", "max k=1"])
def test_other_methods_are_known_to_be_biased(name):
    assert is_biased(METHODS[name])
    assert not is_biased(tfag.FullGradient())


# --- conv2d --------------------------------------------------------------------------


def tape_gradients(x, filters, dy, **arguments):
    """The gradients of x and of the filters."""
    x, filters, dy = map(tf.convert_to_tensor, (x, filters, dy))
    with tf.GradientTape() as tape:
        tape.watch([x, filters])
        y = tfag.conv2d(x, filters, **arguments)
    return tape.gradient(y, [x, filters], output_gradients=dy)


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "eager"])
@each_method
def test_conv2d_makes_its_input_gradient_by_the_method(name, graph):
    (x, dy), filters = PROBLEM.arrays(), filters_of(PROBLEM)
    run = tf.function(tape_gradients) if graph else tape_gradients
    arguments = PROBLEM.function_arguments() | {"step": tf.constant(STEP, tf.int64)}
    of_input, of_filters = run(
        x, filters, dy, method="max", input_gradient=METHODS[name], **arguments
    )
    wanted = computed(PROBLEM, filters, x, dy, METHODS[name])
    np.testing.assert_allclose(of_input, wanted, 1e-5, 1e-5)
    _, alone = run(x, filters, dy, method="max", **arguments)
    np.testing.assert_array_equal(of_filters, alone)


# TensorFlow has no input gradient of explicit padding with dilation on a CPU.
@pytest.mark.parametrize("geometry", sorted({*GEOMETRIES} - {"explicit dilated"}))
def test_input_gradient_is_that_of_tensorflow_unless_it_is_asked_for(geometry):
    problem = GEOMETRIES[geometry]
    (x, dy), filters = problem.arrays(), filters_of(problem)
    arguments = problem.function_arguments()
    of_input, _ = tape_gradients(x, filters, dy, method="max", **arguments)
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nn.conv2d(x, filters, **arguments)
    plain = tape.gradient(y, x, output_gradients=tf.constant(dy))
    if ConvArguments.parse(**arguments).needs_decomposition:
        np.testing.assert_allclose(of_input, plain, 1e-5, 1e-5)
    else:
        np.testing.assert_array_equal(of_input, plain)


def test_conv2d_of_the_full_method_has_exact_gradients():
    (x, dy), filters = PROBLEM.arrays(), filters_of(PROBLEM)
    arguments = PROBLEM.function_arguments() | {"method": "full"}
    plain = tape_gradients(x, filters, dy, **arguments)
    found = tape_gradients(x, filters, dy, **arguments, input_gradient="sampled")
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_conv2d_refuses_what_is_no_input_gradient():
    (x, _), filters = PROBLEM.arrays(), filters_of(PROBLEM)
    arguments = {"strides": 1, "padding": "SAME", "method": "max"}
    with pytest.raises(ValueError, match=r"input_gradient must be None.*got 'most'"):
        tfag.conv2d(x, filters, **arguments, input_gradient="most")
    with pytest.raises(TypeError, match=r"input_gradient must be None.*got 3"):
        tfag.conv2d(x, filters, **arguments, input_gradient=3)
    with pytest.raises(TypeError, match=r"input_gradient=Recording.* has no input gra"):
        tfag.conv2d(x, filters, **arguments, input_gradient=Recording())
    with pytest.raises(ValueError, match=r"step=None, but SampledGradient\(k=1"):
        tfag.conv2d(x, filters, **arguments, input_gradient="sampled")


def test_input_that_nobody_differentiates_costs_nothing_in_eager_mode(monkeypatch):
    (x, dy), filters = PROBLEM.arrays(), filters_of(PROBLEM)

    def refuse(*_):
        raise AssertionError("the input gradient was computed")

    monkeypatch.setattr("tf_approxgrad.gradients.conv2d.compute_input_gradient", refuse)
    kernel = tf.Variable(filters)
    with tf.GradientTape() as tape:
        y = tfag.conv2d(x, kernel, method="max", **PROBLEM.function_arguments())
    gradient = tape.gradient(y, kernel, output_gradients=tf.constant(dy))
    assert np.any(gradient)
    with pytest.raises(AssertionError, match="was computed"):
        tape_gradients(x, filters, dy, method="max", **PROBLEM.function_arguments())
