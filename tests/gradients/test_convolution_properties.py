"""What holds for the filter gradient of every problem, tried on drawn problems.

Values are small whole numbers wherever a property is exact: then float32 sums do not
round, and ties are everywhere.
"""

import dataclasses

import numpy as np
import pytest
from gradients import filter_gradient
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference import Problem, assert_gradient, to_nhwc

import tf_approxgrad as tfag

# The same problems at every run: a failure is one for everybody.
quick = settings(max_examples=40, deadline=None, derandomize=True)

small = st.integers(1, 3)
pads = st.tuples(st.integers(0, 4), st.integers(0, 4))
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float32", "float64", "bfloat16", "half"])
scales = st.floats(-8, -0.125, width=32) | st.floats(0.125, 8, width=32)
counts = st.integers(1, 20) | st.sampled_from([33, 64, 1000])


@st.composite
def problems(draw: st.DrawFn, **fixed: object) -> Problem:
    values = {
        "kernel": draw(st.tuples(st.integers(1, 5), st.integers(1, 4))),
        "padding": draw(st.sampled_from(["SAME", "VALID"]) | st.tuples(pads, pads)),
        "strides": draw(st.tuples(small, small)),
        "dilations": draw(st.tuples(small, small)),
        "n": draw(small),
        "size": draw(st.tuples(st.integers(1, 12), st.integers(1, 12))),
        "ci": draw(st.integers(1, 9)),
        "co": draw(st.integers(1, 9) | st.sampled_from([16, 33])),
        "data_format": draw(st.sampled_from(["NHWC", "NCHW"])),
        "values": draw(st.sampled_from(["integers", "ties"])),
    }
    problem = Problem(**{**values, **fixed})
    assume(min(problem.output_size) > 0)
    return problem


def max_gradient(
    problem: Problem, x: np.ndarray, dy: np.ndarray, k: int, scale: float = 1.0
) -> np.ndarray:
    return filter_gradient(problem, x, dy, tfag.MaxGradient(k, scale=scale))


def exact_count(k: int, problem: Problem) -> int:
    """The power of two below k, or all: what the residual is split by exactly."""
    return k if k >= problem.positions else 1 << k.bit_length() - 1


@quick
@given(problems(values="normal"), counts, seeds, scales)
def test_max_is_the_reference(
    problem: Problem, k: int, seed: int, scale: float
) -> None:
    x, dy = problem.arrays(seed)
    actual = max_gradient(problem, x, dy, k, scale)
    expected = problem.max_gradient(x, dy, k, scale)
    assert_gradient(actual, expected, problem.max_error(x, dy, k, scale))


@quick
@given(problems(), counts, seeds, dtypes)
def test_max_of_integers_is_exactly_the_reference(
    problem: Problem, k: int, seed: int, dtype: str
) -> None:
    problem = dataclasses.replace(problem, dtype=dtype)
    k = exact_count(k, problem)
    x, dy = problem.arrays(seed)
    actual = max_gradient(problem, x, dy, k)
    # NumPy's own cast warns where half overflows; an infinity is then right.
    with np.errstate(over="ignore"):
        expected = problem.max_gradient(x, dy, k).astype(actual.dtype)
    np.testing.assert_array_equal(actual, expected)


@quick
@given(problems(), seeds, st.integers(0, 99))
def test_all_positions_kept_are_the_exact_gradient(
    problem: Problem, seed: int, excess: int
) -> None:
    x, dy = problem.arrays(seed)
    actual = max_gradient(problem, x, dy, problem.positions + excess)
    np.testing.assert_array_equal(actual, problem.dense_gradient(x, dy))


@quick
@given(problems(kernel=(1, 1), padding="VALID"), counts, seeds)
def test_sum_of_each_channel_is_preserved(problem: Problem, k: int, seed: int) -> None:
    x, dy = problem.arrays(seed)
    actual = max_gradient(problem, np.ones_like(x), dy, k)[0, 0, 0]
    expected = problem.channels(dy).sum(axis=(0, 1))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-3)


@quick
@given(problems(), counts, seeds)
def test_gradient_is_linear_in_the_input(problem: Problem, k: int, seed: int) -> None:
    k = exact_count(k, problem)
    x, dy = problem.arrays(seed)
    other, _ = problem.arrays(seed + 1)
    both = max_gradient(problem, 2 * x - other, dy, k)
    parts = 2 * max_gradient(problem, x, dy, k) - max_gradient(problem, other, dy, k)
    np.testing.assert_array_equal(both, parts)


@quick
@given(problems(), counts, seeds, st.sampled_from([-1.0, 4.0, -0.5, 0.0]))
def test_gradient_scales_with_the_output_gradient(
    problem: Problem, k: int, seed: int, factor: float
) -> None:
    k = exact_count(k, problem)
    x, dy = problem.arrays(seed)
    scaled = max_gradient(problem, x, factor * dy, k)
    np.testing.assert_array_equal(scaled, factor * max_gradient(problem, x, dy, k))


@quick
@given(problems(), counts, seeds)
def test_batch_is_the_sum_of_its_examples(problem: Problem, k: int, seed: int) -> None:
    k = exact_count(k, problem)
    x, dy = problem.arrays(seed)
    single = dataclasses.replace(problem, n=1)
    parts = [
        max_gradient(single, x[n : n + 1], dy[n : n + 1], k) for n in range(problem.n)
    ]
    np.testing.assert_array_equal(max_gradient(problem, x, dy, k), sum(parts))


@quick
@given(problems(), counts, seeds)
def test_output_channels_do_not_touch_each_other(
    problem: Problem, k: int, seed: int
) -> None:
    k = exact_count(k, problem)
    x, dy = problem.arrays(seed)
    order = np.random.default_rng(seed).permutation(problem.co)
    axis = problem.data_format.index("C")
    together = max_gradient(problem, x, dy, k)
    mixed = max_gradient(problem, x, np.take(dy, order, axis), k)
    np.testing.assert_array_equal(mixed, together[..., order])
    single = dataclasses.replace(problem, co=1)
    alone = max_gradient(single, x, np.take(dy, order[:1], axis), k)
    np.testing.assert_array_equal(alone, together[..., order[:1]])


@quick
@given(problems(), counts, seeds)
def test_input_channels_do_not_touch_each_other(
    problem: Problem, k: int, seed: int
) -> None:
    k = exact_count(k, problem)
    x, dy = problem.arrays(seed)
    order = np.random.default_rng(seed).permutation(problem.ci)
    x_mixed = np.take(x, order, problem.data_format.index("C"))
    mixed = max_gradient(problem, x_mixed, dy, k)
    expected = max_gradient(problem, x, dy, k)[:, :, order]
    np.testing.assert_array_equal(mixed, expected)


@quick
@given(problems(data_format="NCHW"), counts, seeds)
def test_both_layouts_give_the_same(problem: Problem, k: int, seed: int) -> None:
    k = exact_count(k, problem)
    x, dy = problem.arrays(seed)
    other = dataclasses.replace(problem, data_format="NHWC")
    np.testing.assert_array_equal(
        max_gradient(problem, x, dy, k),
        max_gradient(other, to_nhwc(x, "NCHW"), to_nhwc(dy, "NCHW"), k),
    )


@quick
@given(problems(padding="SAME"), counts, seeds)
def test_same_padding_is_its_explicit_zeros(
    problem: Problem, k: int, seed: int
) -> None:
    x, dy = problem.arrays(seed)
    explicit = dataclasses.replace(problem, padding=problem.pads)
    np.testing.assert_array_equal(
        max_gradient(problem, x, dy, k), max_gradient(explicit, x, dy, k)
    )


@quick
@given(problems(), counts, seeds)
def test_mean_over_the_batch_is_the_sum_over_its_size(
    problem: Problem, k: int, seed: int
) -> None:
    x, dy = problem.arrays(seed)
    mean = filter_gradient(problem, x, dy, tfag.MaxGradient(k))
    total = max_gradient(problem, x, dy, k).astype(np.float64)
    allowed = 2 * problem.max_error(x, dy, k, 1 / problem.n)
    assert_gradient(mean, total / problem.n, allowed)


@quick
@given(
    problems(),
    counts,
    seeds,
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.integers(1, 3),
)
def test_no_non_finite_value_is_hidden_or_spreads(
    problem: Problem, k: int, seed: int, value: float, number: int
) -> None:
    k = exact_count(k, problem)
    x, dy = problem.arrays(seed)
    rng = np.random.default_rng(seed)
    bad = rng.integers(problem.co)
    finite = max_gradient(problem, x, dy, k)
    view = to_nhwc(dy, problem.data_format)
    for _ in range(number):
        n, row, col = rng.integers(view.shape[:3])
        view[n, row, col, bad] = value
    actual = max_gradient(problem, x, dy, k)
    assert not np.isfinite(actual[..., bad]).any()
    np.testing.assert_array_equal(
        np.delete(actual, bad, axis=-1), np.delete(finite, bad, axis=-1)
    )


@pytest.mark.slow
@settings(quick, max_examples=3000)
@given(problems(), counts, seeds)
def test_many_problems_are_exactly_the_reference(
    problem: Problem, k: int, seed: int
) -> None:
    k = exact_count(k, problem)
    x, dy = problem.arrays(seed)
    actual = max_gradient(problem, x, dy, k)
    np.testing.assert_array_equal(actual, problem.max_gradient(x, dy, k))
