"""Minibatches of a user's data, as tensors."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.utils.checks import check_integer

# As `fit` takes it for arrays.
_DEFAULT_BATCH_SIZE = 32
_SEED = 0


class Minibatch(NamedTuple):
    """Tensors of one training step; `y` and `sample_weight` may be `None`."""

    x: Any
    y: Any
    sample_weight: Any


def read_minibatches(
    x: Any, y: Any, sample_weight: Any, batch_size: int | None, count: int
) -> list[Minibatch]:
    """Draws minibatches of equal size from data as `fit` takes them.

    Args:
        x: Arrays, from which disjoint minibatches are drawn at random; or a
            `tf.data.Dataset`, generator or other iterable of batches, whose first ones
            are read.
        y, sample_weight: Arrays; `None` with batches.
        batch_size: Examples of a minibatch. `None` means that of the batches, or 32.
        count: Number of minibatches, at most.

    Returns:
        At least two minibatches.

    Raises:
        TypeError: If `x` has another type.
        ValueError: If the data hold fewer than two minibatches, or the arguments don't
            fit each other.
    """
    if x is None:
        raise _other_type(x)
    if batch_size is not None:
        batch_size = check_integer("batch_size", batch_size, 1)
    if _holds_arrays(x):
        batch_size = batch_size or _DEFAULT_BATCH_SIZE
        batches = _of_arrays((x, y, sample_weight), batch_size)
    else:
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"{name} must be None where x, a {type(x).__name__}, yields "
                    "batches: they hold the targets and the weights."
                )
        batches = _of_iterable(x, batch_size)
    found = list(itertools.islice(batches, count))
    if len(found) < 2:
        raise ValueError(
            f"the data hold {len(found)} whole minibatches of "
            f"batch_size={batch_size or 'that of the batches'}, but a plan needs at "
            "least 2 to measure how much their gradients differ: pass more data, or a "
            "smaller batch_size."
        )
    return found


def size_of(batch: Minibatch) -> int:
    """Number of examples of a minibatch."""
    return int(keras.tree.flatten(batch.x)[0].shape[0])


def specs_of(part: Any) -> Any:
    """Specifications of a minibatch's tensors, for any number of examples."""
    return keras.tree.map_structure(
        lambda x: None if x is None else tf.TensorSpec([None, *x.shape[1:]], x.dtype),
        part,
    )


def part_of(batch: Minibatch, size: int) -> Minibatch:
    """The first examples of a minibatch."""
    return _mapped(lambda tensor: tensor[:size], batch)


def _mapped(function: Callable[[Any], Any], parts: Iterable[Any]) -> Minibatch:
    """A minibatch of a function of the leaves of x, y and sample weights."""
    return Minibatch(
        *(
            None if part is None else keras.tree.map_structure(function, part)
            for part in parts
        )
    )


def _holds_arrays(x: Any) -> bool:
    if isinstance(x, tf.data.Dataset | keras.utils.PyDataset):
        return False
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)


def _of_arrays(data: tuple[Any, Any, Any], batch_size: int) -> Iterator[Minibatch]:
    leaves = [
        (name, leaf)
        for name, part in zip(Minibatch._fields, data, strict=True)
        if part is not None
        for leaf in keras.tree.flatten(part)
    ]
    for name, leaf in leaves:
        if not getattr(leaf, "shape", ()):
            raise TypeError(
                f"{name} must be an array of examples, or a list or dict of these, "
                f"as x is, but holds {leaf!r}."
            )
    lengths = [(name, len(leaf)) for name, leaf in leaves]
    if len({length for _, length in lengths}) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths)
        raise ValueError(f"the arrays must have equally many examples, got {found}.")
    # A generator of its own: the user's random numbers stay as they are.
    order = np.random.default_rng(_SEED).permutation(lengths[0][1])
    for begin in range(0, len(order) - batch_size + 1, batch_size):
        chosen = np.sort(order[begin : begin + batch_size])
        yield _mapped(functools.partial(_rows_of, chosen), data)


def _rows_of(chosen: np.ndarray, leaf: Any) -> tf.Tensor:
    if isinstance(leaf, tf.Tensor):
        return _as_tensor(tf.gather(leaf, chosen))
    has_labels = hasattr(leaf, "iloc")
    return _as_tensor(leaf.iloc[chosen].to_numpy() if has_labels else leaf[chosen])


def _of_iterable(x: Any, batch_size: int | None) -> Iterator[Minibatch]:
    if isinstance(x, keras.utils.PyDataset):
        x = map(x.__getitem__, range(x.num_batches or 0))
    if not isinstance(x, Iterable):
        raise _other_type(x)
    is_first = True
    for elements in x:
        parts = keras.utils.unpack_x_y_sample_weight(elements)
        batch = _mapped(_as_tensor, parts)
        if any(leaf.shape.rank == 0 for leaf in keras.tree.flatten(batch.x)):
            raise TypeError(
                "x must be an array, or a list or dict of arrays, or yield batches of "
                f"these, but holds {elements!r:.60}."
            )
        size = size_of(batch)
        if batch_size is None:
            batch_size = size
        if size > batch_size or (is_first and size < batch_size):
            raise ValueError(
                f"batch_size={batch_size}, but x yields batches of {size} examples: "
                "leave batch_size out, or batch the data accordingly."
            )
        is_first = False
        if size == batch_size:
            yield batch


def _other_type(x: Any) -> TypeError:
    return TypeError(
        "x must be an array, a list or dict of arrays, a tf.data.Dataset, a "
        f"keras.utils.PyDataset or a generator of batches, got a {type(x).__name__}."
    )


def _as_tensor(value: Any) -> tf.Tensor:
    tensor = tf.convert_to_tensor(value)
    # As Keras converts arrays for `fit`.
    is_wide = tensor.dtype == tf.float64
    return tf.cast(tensor, keras.config.floatx()) if is_wide else tensor
