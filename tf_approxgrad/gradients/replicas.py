"""Where a gradient is computed in distributed training: on which of the replicas."""

from __future__ import annotations

import collections
import weakref
from typing import Any

import tensorflow as tf

from tf_approxgrad import _compat

# Steps of one replica and of one call, among the steps of random streams.
_REPLICA_BITS, _CALL_BITS = 40, 56


def replica_id() -> int | tf.Tensor:
    """The replica that this is traced for, from 0; 0 outside `tf.distribute`."""
    context = tf.distribute.get_replica_context()
    if context is None:
        return 0
    replica = context.replica_id_in_sync_group
    known = replica if isinstance(replica, int) else tf.get_static_value(replica)
    return replica if known is None else int(known)


def replica_count() -> int:
    """Number of replicas whose gradients are added up; 1 outside `tf.distribute`."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def draw_offset(call: int, replica: int | tf.Tensor) -> tf.Tensor | None:
    """What is added to the step from which a call on a replica draws.

    So that all draw differently. Steps stay below 2^40, replicas below 2^16, and from
    call 128 on calls draw as those from 0 on.

    Returns:
        An int64 scalar; `None` for the first call on the first replica.
    """
    if isinstance(replica, int) and not call and not replica:
        return None
    of_replica = tf.bitwise.left_shift(tf.cast(replica, tf.int64), _REPLICA_BITS)
    return of_replica + ((call % 128) << _CALL_BITS)


class CallNumbers:
    """Numbers the calls of a layer in a step, on each replica from 0.

    A step's calls end with the first backward pass, and with the graph in which they
    are traced: a function that trains several steps numbers each step's anew. Those
    whose graph is traced once and runs often, in a loop, have one number.
    """

    def __init__(self) -> None:
        self._numbers: collections.Counter[Any] = collections.Counter()
        self._has_ended: set[Any] = set()
        self._graph: weakref.ref[tf.Graph] | None = None

    def number(self, replica: int | tf.Tensor) -> int:
        """The number of a call that begins."""
        key = _key(replica)
        graph = None if tf.executing_eagerly() else _current_graph()
        if graph != self._graph:
            self._graph = graph
            self._numbers.clear()
            self._has_ended.clear()
        if key in self._has_ended:
            self._has_ended.discard(key)
            self._numbers[key] = 0
        number = self._numbers[key]
        # A call that is made again in the backward pass counts then.
        self._numbers[key] += _compat.recording_is_possible()
        return number

    def end(self, replica: int | tf.Tensor) -> None:
        """Notes a backward pass."""
        self._has_ended.add(_key(replica))


def _key(replica: int | tf.Tensor) -> int | str:
    """A replica, or the name of the tensor that it is in a graph."""
    return replica if isinstance(replica, int) else str(replica.name)


def _current_graph() -> weakref.ref[tf.Graph]:
    return weakref.ref(tf.compat.v1.get_default_graph())
