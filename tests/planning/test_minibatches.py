"""Minibatches for a plan, from data as `fit` takes them."""

import itertools
import random
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numbered_data import KINDS, X, Y, as_dataset, batches, numbers_of, read

from tf_approxgrad.planning.minibatches import Minibatch, part_of, size_of

# --- Arrays --------------------------------------------------------------------------


def test_minibatches_of_arrays_are_disjoint_whole_and_matched_with_their_targets() -> (
    None
):
    found = read(X, Y, batch_size=5)
    assert [size_of(batch) for batch in found] == [5] * 4
    numbers = [number for batch in found for number in numbers_of(batch)]
    assert len(set(numbers)) == 20
    for batch in found:
        assert batch.y.numpy().tolist() == numbers_of(batch)
        assert batch.sample_weight is None


def test_minibatches_of_arrays_are_random_but_the_same_each_time() -> None:
    first, second = read(X, Y, batch_size=5), read(X, Y, batch_size=5)
    assert list(map(numbers_of, first)) == list(map(numbers_of, second))
    assert sorted(numbers_of(first[0])) != list(range(5))


def test_random_states_stay_as_they_are_and_dont_matter() -> None:
    found = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        states = random.getstate(), np.random.get_state()
        found.append(list(map(numbers_of, read(X, Y, batch_size=5))))
        assert random.getstate() == states[0]
        np.testing.assert_array_equal(np.random.get_state()[1], states[1][1])
        assert np.random.get_state()[2:] == states[1][2:]
    assert found[0] == found[1]


def test_no_more_minibatches_are_read_than_asked_for() -> None:
    assert len(read(X, Y, batch_size=2, count=3)) == 3
    assert len(read(batches(2), count=3)) == 3


def test_batch_size_of_arrays_is_that_of_fit() -> None:
    x = np.zeros((70, 1), np.float32)
    assert [size_of(batch) for batch in read(x, x)] == [32, 32]


def test_batch_size_may_be_a_numpy_integer() -> None:
    assert len(read(X, Y, batch_size=np.int64(5))) == 4


@pytest.mark.parametrize("make", [list, tuple, lambda x: dict(enumerate(x))])
def test_several_inputs_and_targets_keep_their_structure(make: Any) -> None:
    x, y = make([X, X[:, 0] + 100]), make([Y, 2 * Y])
    for batch in read(x, y, batch_size=5):
        assert type(batch.x) is type(x)
        a, b = keras.tree.flatten(batch.x)
        c, d = keras.tree.flatten(batch.y)
        np.testing.assert_array_equal(a[:, 0] + 100, b)
        np.testing.assert_array_equal(2 * c, d)
        np.testing.assert_array_equal(a[:, 0], tf.cast(c, tf.float32))


def test_sample_weights_are_drawn_with_their_examples() -> None:
    for batch in read(X, Y, sample_weight=Y / 10.0, batch_size=5):
        np.testing.assert_allclose(batch.sample_weight, batch.y / 10, rtol=1e-6)


def test_inputs_without_targets_are_read() -> None:
    assert [batch.y for batch in read(X, batch_size=5)] == [None] * 4


def test_dtypes_are_those_of_fit() -> None:
    (batch, *_) = read(X.astype(np.float64), Y, Y / 10.0, batch_size=5)
    assert [part.dtype for part in batch] == [tf.float32, tf.int64, tf.float32]
    (batch, *_) = read(X.astype(np.float16), Y.astype(np.uint8), batch_size=5)
    assert [part.dtype for part in batch[:2]] == [tf.float16, tf.uint8]


def test_tensors_are_drawn_from_as_arrays_are() -> None:
    of_arrays, of_tensors = (
        read(X, Y, batch_size=5),
        read(tf.constant(X), tf.constant(Y), batch_size=5),
    )
    for first, second in zip(of_arrays, of_tensors, strict=True):
        assert numbers_of(first) == numbers_of(second)
        np.testing.assert_array_equal(first.y, second.y)


def test_data_frames_are_drawn_from_as_arrays_are() -> None:
    pandas = pytest.importorskip("pandas")
    found = read(pandas.DataFrame(X), pandas.Series(Y), batch_size=5)
    for first, second in zip(found, read(X, Y, batch_size=5), strict=True):
        np.testing.assert_array_equal(first.x, second.x)
        np.testing.assert_array_equal(first.y, second.y)


# --- Batches -------------------------------------------------------------------------


@pytest.mark.parametrize("make", [*KINDS, lambda size: iter(list(batches(size)))])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_batches_are_read_in_order_without_the_smaller_last_one(
    make: Any, batch_size: int | None
) -> None:
    found = read(make(5), batch_size=batch_size)
    assert list(map(numbers_of, found)) == [
        list(range(begin, begin + 5)) for begin in (0, 5, 10, 15)
    ]
    for batch in found:
        assert batch.y.numpy().tolist() == numbers_of(batch)


def test_batches_may_hold_sample_weights_or_inputs_alone() -> None:
    data = tf.data.Dataset.from_tensor_slices((X, Y, Y / 10.0)).batch(5)
    for batch in read(data):
        np.testing.assert_allclose(batch.sample_weight, batch.y / 10, rtol=1e-6)
        assert batch.sample_weight.dtype == tf.float32
    for batch in read(tf.data.Dataset.from_tensor_slices(X).batch(5)):
        assert batch.y is None


def test_batches_of_several_inputs_keep_their_structure() -> None:
    data = tf.data.Dataset.from_tensor_slices(({"a": X, "b": X}, {"c": Y})).batch(5)
    for batch in read(data):
        assert set(batch.x) == {"a", "b"}
        assert set(batch.y) == {"c"}


def test_endless_batches_are_read_as_far_as_needed() -> None:
    assert len(read(as_dataset(5).repeat(), count=8)) == 8
    assert len(read(itertools.cycle(list(batches(5, 4))), count=8)) == 8


def test_no_batch_is_drawn_from_a_generator_beyond_the_last_one_used() -> None:
    rest = batches(5)
    read(rest, count=2)
    x, _ = next(rest)
    assert x[0, 0] == 10


# --- A part --------------------------------------------------------------------------


def test_part_of_a_minibatch_is_its_first_examples() -> None:
    (batch, *_) = read({"a": X}, Y, Y / 10.0, batch_size=6)
    half = part_of(batch, 3)
    assert size_of(half) == 3
    for part, whole in zip(half, batch, strict=True):
        for one, other in zip(*map(keras.tree.flatten, (part, whole)), strict=True):
            np.testing.assert_array_equal(one, other[:3])
    assert part_of(Minibatch(batch.x, None, None), 3).y is None
