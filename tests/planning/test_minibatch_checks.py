"""Data that make no minibatches, and errors that name the argument."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numbered_data import COUNT, KINDS, X, Y, as_dataset, batches, read


@pytest.mark.parametrize("make", [lambda size: X, *KINDS])
def test_fewer_than_two_minibatches_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"the data hold 1 whole .*batch_size"):
        read(make(COUNT), batch_size=COUNT)


def test_fewer_examples_than_a_minibatch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the data hold 0 whole .*batch_size=24"):
        read(X, batch_size=COUNT + 1)


@pytest.mark.parametrize("make", [*KINDS, lambda size: iter([])])
def test_fewer_than_two_batches_of_the_first_ones_size_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"the data hold [01] whole .*batch_size"):
        read(make(12))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((X, Y[:-1]), "x 23, y 22"),
        ((X, Y, Y[:3]), "x 23, y 23, sample_weight 3"),
    ],
)
def test_arrays_of_unequal_lengths_are_refused(arrays: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"equally many examples, got {message}"):
        read(*arrays, batch_size=5)


@pytest.mark.parametrize("lengths", [(20, COUNT), (COUNT, 20)])
def test_unequal_lengths_within_one_argument_are_refused(
    lengths: tuple[int, int],
) -> None:
    x = {name: X[:length] for name, length in zip("ab", lengths, strict=True)}
    with pytest.raises(ValueError, match=r"equally many examples, got .*x.* 20"):
        read(x, Y, batch_size=5)
    with pytest.raises(ValueError, match=r"equally many examples, got .*y.* 20"):
        read(X, list(x.values()), batch_size=5)


@pytest.mark.parametrize("name", ["y", "sample_weight"])
@pytest.mark.parametrize("make", KINDS)
def test_targets_beside_batches_are_refused(make: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be None where x, a .*yields"):
        read(make(5), **{name: Y})


@pytest.mark.parametrize("make", KINDS)
def test_batch_size_below_that_of_the_batches_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"batch_size=4, but x yields batches of 5"):
        read(make(5), batch_size=4)


def test_batch_size_above_that_of_the_batches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size=6"):
        read(as_dataset(5), batch_size=6)


def test_batch_size_above_that_of_endless_batches_is_refused() -> None:
    def endless() -> Iterator[Any]:
        yield from itertools.islice(itertools.cycle(batches(5, 4)), 1000)
        pytest.fail("reads on forever")

    with pytest.raises(ValueError, match=r"batch_size=6"):
        read(endless(), batch_size=6)


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-3, ValueError), (2.5, TypeError)]
)
def test_batch_size_must_be_a_positive_integer(value: Any, error: type) -> None:
    with pytest.raises(error, match=r"batch_size must be an integer >= 1, got"):
        read(X, Y, batch_size=value)


@pytest.mark.parametrize("x", [None, 3, keras.losses.MeanSquaredError(), len])
def test_x_of_another_type_is_refused(x: Any) -> None:
    with pytest.raises(TypeError, match=r"x must be an array, .* got a"):
        read(x)


@pytest.mark.parametrize("x", ["images", {"a": [1, 2, 3]}, [[1.0, 2.0], [3.0, 4.0]]])
def test_x_that_holds_no_arrays_is_refused(x: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"\bx\b"):
        read(x)


@pytest.mark.parametrize("name", ["y", "sample_weight"])
@pytest.mark.parametrize("value", [list(range(COUNT)), 3, "labels", np.array(3.0)])
def test_targets_that_are_no_arrays_are_refused(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b"):
        read(X, **{name: value}, batch_size=5)


def test_array_without_examples_is_refused() -> None:
    with pytest.raises((TypeError, ValueError), match=r"\bx\b"):
        read(np.array(3.0, np.float32))


def test_dataset_that_is_not_batched_is_refused() -> None:
    data = tf.data.Dataset.from_tensor_slices((X[:, 0], Y))
    with pytest.raises((TypeError, ValueError), match=r"\bx\b.*batch"):
        read(data)
