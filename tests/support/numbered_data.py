"""Arrays and batches of which each example holds its own number."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.planning.minibatches import Minibatch, read_minibatches

COUNT = 23
# Each example holds its own number, so that one sees which were drawn.
X = np.arange(COUNT, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
Y = np.arange(COUNT)


def read(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    count: int = 100,
) -> list[Minibatch]:
    return read_minibatches(x, y, sample_weight, batch_size, count)


def numbers_of(batch: Minibatch) -> list[int]:
    """The examples that a minibatch of `X` holds."""
    return batch.x[:, 0].numpy().astype(int).tolist()


def batches(size: int, count: int | None = None) -> Iterator[tuple[Any, Any]]:
    """Consecutive batches of `X` and `Y`, the last one smaller."""
    for begin in itertools.islice(range(0, COUNT, size), count):
        yield X[begin : begin + size], Y[begin : begin + size]


class Batches(keras.utils.PyDataset):
    """The same as a `PyDataset`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._batches = list(batches(size))

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._batches[index]


def as_dataset(size: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(size)


KINDS = [as_dataset, Batches, batches]
