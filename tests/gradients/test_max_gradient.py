"""The method `max` against the reference.

There are two ways in: a whole filter gradient, and the weights alone, one by one.
"""

import dataclasses

import numpy as np
import pytest
from gradients import NON_FINITE, filter_gradient
from gradients import weights_of as method_weights
from marks import slowly
from programs import with_threads
from reference import (
    GEOMETRIES,
    SOME_GEOMETRIES,
    Problem,
    assert_gradient,
    keep_largest,
    to_nhwc,
)

import tf_approxgrad as tfag

DTYPES = ["float32", "float64", "bfloat16", "half"]
FORMATS = ["NHWC", "NCHW"]
COUNTS = [1, 2, 3, 7, 16, 17, 40]


def check_max(problem: Problem, k: int) -> None:
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, tfag.MaxGradient(k, scale=1.0))
    expected = problem.max_gradient(x, dy, k)
    assert_gradient(actual, expected, problem.max_error(x, dy, k))


def weights_of(dy: np.ndarray, k: int, dtype: str = "float32") -> np.ndarray:
    """The weights [P, Co] that dY [P, Co] gets: what meets an identity for X."""
    return method_weights(dy, tfag.MaxGradient(k, scale=1.0), dtype=dtype)


def expected_weights(dy: np.ndarray, k: int) -> np.ndarray:
    result = np.zeros(dy.shape)
    for channel, column in enumerate(dy.T.astype(np.float64)):
        kept, weights = keep_largest(column, k)
        result[kept, channel] = weights
    return result


@pytest.mark.parametrize("k", COUNTS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_max_is_the_reference(geometry: str, k: int) -> None:
    check_max(GEOMETRIES[geometry], k)


@pytest.mark.parametrize("k", [1, 3, 16])
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_max_is_the_reference_in_nchw(geometry: str, k: int) -> None:
    check_max(dataclasses.replace(GEOMETRIES[geometry], data_format="NCHW"), k)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "half"])
@pytest.mark.parametrize("k", [1, 17])
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_max_is_the_reference_in_other_types(
    geometry: str, k: int, dtype: str, data_format: str
) -> None:
    problem = GEOMETRIES[geometry]
    check_max(dataclasses.replace(problem, dtype=dtype, data_format=data_format), k)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [2, 16])
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_max_of_integers_is_exact(
    geometry: str, k: int, dtype: str, data_format: str
) -> None:
    """With k a power of two no step rounds, but for the last in the small types."""
    problem = dataclasses.replace(
        GEOMETRIES[geometry], dtype=dtype, data_format=data_format, values="ties"
    )
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, tfag.MaxGradient(k, scale=1.0))
    expected = problem.max_gradient(x, dy, k).astype(actual.dtype)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("excess", [0, 2**40])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_keeping_all_positions_is_exactly_dense(
    geometry: str, data_format: str, excess: int
) -> None:
    problem = dataclasses.replace(
        GEOMETRIES[geometry], data_format=data_format, values="integers"
    )
    x, dy = problem.arrays()
    method = tfag.MaxGradient(problem.positions + excess, scale=1.0)
    actual = filter_gradient(problem, x, dy, method)
    np.testing.assert_array_equal(actual, problem.dense_gradient(x, dy))


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 40, *slowly(16)])
def test_larger_maps_are_the_reference(k: int, dtype: str, data_format: str) -> None:
    problem = Problem(
        size=(57, 61), n=1, ci=2, co=3, dtype=dtype, data_format=data_format
    )
    check_max(problem, k)
    # The bound grows with the map; whole numbers leave no room at all.
    problem = dataclasses.replace(problem, values="integers", strides=(1, 2))
    x, dy = problem.arrays()
    k = 1 << k.bit_length() - 1
    actual = filter_gradient(problem, x, dy, tfag.MaxGradient(k, scale=1.0))
    expected = problem.max_gradient(x, dy, k).astype(actual.dtype)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("positions", [1, 2, 5, 16, 17, 64, 199, 300])
@pytest.mark.parametrize("k", [1, 2, 7, 16, 17, 64, 300])
def test_lowest_position_wins_a_tie_whatever_the_sign(positions: int, k: int) -> None:
    rng = np.random.default_rng(positions)
    dy = rng.choice([-2, -1, 0, 1, 2], (positions, 6))
    dy[:, 4] = np.where(np.arange(positions) % 2, 3, -3)
    dy[:, 5] = -1
    expected = expected_weights(dy, k)
    np.testing.assert_allclose(weights_of(dy, k), expected, rtol=1e-6, atol=1e-6)
    if k < positions:
        # These data do tell: the highest position first would give other weights.
        differs = np.any(expected != expected_weights(dy[::-1], k)[::-1], axis=0)
        assert differs[5]
        assert differs[4] or dy[:, 4].sum() == 0


@pytest.mark.parametrize("k", [1, 2, 3, 17])
def test_sign_tie_keeps_the_first_and_its_sign(k: int) -> None:
    dy = np.zeros((40, 2))
    dy[[9, 30]] = [[-2, 2], [2, -2]]
    np.testing.assert_allclose(weights_of(dy, k), expected_weights(dy, k))
    if k == 1:
        dy[0] = 1  # Now there is a sum for the kept one to carry.
        assert weights_of(dy, 1)[9].tolist() == [1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 4, 16, 33])
def test_choice_is_right_for_every_order_of_magnitudes(k: int, dtype: str) -> None:
    rising = np.arange(1, 101) * np.resize([1, -1, -1], 100)
    middle = np.concatenate([rising[::2], rising[1::2][::-1]])
    dy = np.stack([rising, rising[::-1], middle, np.abs(rising)], axis=1)
    actual, expected = weights_of(dy, k, dtype), expected_weights(dy, k)
    epsilon = {"float32": 2e-7, "float64": 4e-16, "bfloat16": 4e-3, "half": 5e-4}
    np.testing.assert_allclose(actual, expected, rtol=2 * epsilon[dtype])


@pytest.mark.parametrize("dtype", ["bfloat16", "half"])
@pytest.mark.parametrize("k", [1, 2])
def test_small_types_are_summed_in_float32(k: int, dtype: str) -> None:
    """A sum of ones stops at 256 in bfloat16, at 2048 in half, weights round there."""
    problem = Problem((1, 1), n=1, size=(59, 53), ci=1, co=1, dtype=dtype)
    x, dy = (np.ones_like(array) for array in problem.arrays())
    x[0, 0, 0] = x[0, 0, 1] = 0.5
    actual = filter_gradient(problem, x, dy, tfag.MaxGradient(k, scale=1.0))
    half_the_sum = np.array(59 * 53 / 2).astype(actual.dtype)
    assert actual.item() == half_the_sum


def test_half_weights_may_exceed_the_range_of_half() -> None:
    problem = Problem((1, 1), n=1, size=(30, 30), ci=1, co=1, dtype="half")
    x, dy = (np.zeros_like(array) for array in problem.arrays())
    x[0, 0, 0], dy[:] = 0.125, 200
    actual = filter_gradient(problem, x, dy, tfag.MaxGradient(scale=1.0))
    assert actual.item() == 22496  # 0.125 * 180000 to the nearest half


@pytest.mark.parametrize("value", [0.0, -0.0])
@pytest.mark.parametrize("k", [1, 5, 200])
def test_zero_output_gradient_gives_zeros(k: int, value: float) -> None:
    problem = Problem()
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, np.full_like(dy, value), tfag.MaxGradient(k))
    np.testing.assert_array_equal(actual, np.zeros(problem.filter_sizes))


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    "geometry", ["explicit beyond reach", "5x3 all", *slowly("3x3")]
)
@pytest.mark.parametrize("case", NON_FINITE)
def test_non_finite_output_gradient_shows_in_its_channel_alone(
    case: str, geometry: str, data_format: str
) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], data_format=data_format)
    x, dy = problem.arrays()
    channels = list(range(problem.co))
    bad = channels.pop(2)
    view = to_nhwc(dy, data_format)
    for n, row, col, value in NON_FINITE[case]:
        view[n, row % view.shape[1], col % view.shape[2], bad] = value
    finite = dy.copy()
    to_nhwc(finite, data_format)[..., bad] = 0
    for k in (1, 2, 3, 17, problem.positions, problem.positions + 4):
        actual = filter_gradient(problem, x, dy, tfag.MaxGradient(k, scale=1.0))
        assert not np.isfinite(actual[..., bad]).any()
        if k == 1:
            # The weight is the sum itself: infinite, and NaN times a tap outside.
            expected = problem.max_gradient(x, dy, k)
            np.testing.assert_array_equal(actual[..., bad], expected[..., bad])
        assert_gradient(
            actual[..., channels],
            problem.max_gradient(x, finite, k)[..., channels],
            problem.max_error(x, finite, k)[..., channels],
        )


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "half"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_output_gradient_shows_in_every_type(
    value: float, dtype: str
) -> None:
    dy = np.ones((50, 3))
    dy[31, 1] = value
    for k in (1, 5, 50):
        actual = weights_of(dy, k, dtype)
        # An identity for X: every row but one holds zeros where w is not finite.
        assert not np.isfinite(actual[:, 1]).any()
        assert np.isfinite(actual[:, [0, 2]]).all()


def test_non_finite_output_gradient_shows_when_only_padding_is_kept() -> None:
    problem = dataclasses.replace(GEOMETRIES["1x1 mostly outside"], n=1)
    x, dy = problem.arrays()
    for value in (np.nan, np.inf):
        dy[0, 0, 0, 4] = value
        actual = filter_gradient(problem, x, dy, tfag.MaxGradient())
        assert np.isnan(actual[..., 4]).all()
        assert np.isfinite(np.delete(actual, 4, axis=-1)).all()


def test_non_finite_input_counts_only_where_it_is_kept() -> None:
    problem = Problem(n=1)
    x, dy = problem.arrays()
    dy[...] = np.sign(dy)
    dy[0, 4, 3] = 5
    for row, expected in ((8, True), (5, False)):
        broken = x.copy()
        broken[0, row, 3, 1] = np.nan
        actual = filter_gradient(problem, broken, dy, tfag.MaxGradient())
        assert np.isfinite(actual[:, :, 1]).all() == expected
        assert np.isfinite(actual[:, :, [0, 2]]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 3, 8])
def test_scale_batch_divides_by_the_batch_size(n: int, dtype: str) -> None:
    problem = Problem(n=n, dtype=dtype)
    x, dy = problem.arrays()
    for method in (tfag.MaxGradient(3), tfag.MaxGradient(3, scale="batch")):
        actual = filter_gradient(problem, x, dy, method)
        expected = problem.max_gradient(x, dy, 3, 1 / n)
        assert_gradient(actual, expected, problem.max_error(x, dy, 3, 1 / n))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.0, 0.1, -3.0, 1e-3, 1])
def test_scale_multiplies_the_gradient(scale: float, dtype: str) -> None:
    problem = Problem(dtype=dtype)
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, tfag.MaxGradient(2, scale=scale))
    expected = problem.max_gradient(x, dy, 2, scale)
    assert_gradient(actual, expected, problem.max_error(x, dy, 2, scale))


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(("ci", "co"), [(0, 4), (3, 0)])
def test_max_of_no_channels_is_empty(ci: int, co: int, data_format: str) -> None:
    problem = Problem(ci=ci, co=co, data_format=data_format)
    x, dy = problem.arrays()
    assert filter_gradient(problem, x, dy, tfag.MaxGradient(2)).shape == (3, 3, ci, co)


@pytest.mark.parametrize("k", [1, 16])
@pytest.mark.parametrize("geometry", ["odd channels", "many output channels"])
def test_same_call_gives_the_same_bits(geometry: str, k: int) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], n=9)
    x, dy = problem.arrays()
    method = tfag.MaxGradient(k)
    first = filter_gradient(problem, x, dy, method).tobytes()
    for _ in range(10):
        assert filter_gradient(problem, x, dy, method).tobytes() == first


PRINT_DIGESTS = """
from gradients import filter_gradient
from reference import Problem
import tf_approxgrad as tfag
for data_format in ("NHWC", "NCHW"):
    for dtype in ("float32", "half"):
        problem = Problem(
            n=13, size=(31, 29), ci=19, co=37, dtype=dtype, data_format=data_format
        )
        x, dy = problem.arrays()
        for k in (1, 5, 17):
            gradient = filter_gradient(problem, x, dy, tfag.MaxGradient(k))
            show(gradient)
"""


@pytest.mark.slow
def test_number_of_threads_does_not_change_a_bit() -> None:
    one, two = with_threads(PRINT_DIGESTS, 1, 2)
    assert len(set(one)) == 12
    assert one == two
