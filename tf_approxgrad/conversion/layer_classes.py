"""Change of layers' classes and gradient policies in place, all or nothing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tf_approxgrad import _compat
from tf_approxgrad.layers.policy import LayerPolicy


@dataclasses.dataclass(frozen=True)
class LayerState:
    """The class and the gradient policy of a layer.

    Attributes:
        layer: The layer. Its variables, and everything else that it has, stay as they
            are when the class changes.
        cls: Its class.
        policy: Its gradient policy; `None` for a class of Keras.
        call_attributes: What Keras knows of the signature of the class's `call`.
    """

    layer: keras.layers.Layer
    cls: type[keras.layers.Layer]
    policy: LayerPolicy | None
    call_attributes: dict[str, Any]

    @classmethod
    def present(cls, layer: keras.layers.Layer) -> LayerState:
        """The state that a layer has."""
        policy = vars(layer).get("_gradient_policy")
        return cls(layer, type(layer), policy, _compat.call_attributes(layer))

    @classmethod
    def planned(
        cls,
        layer: keras.layers.Layer,
        new_class: type[keras.layers.Layer],
        policy: LayerPolicy | None,
    ) -> LayerState:
        """A state for a layer to be given."""
        changes = type(layer) is not new_class
        attributes = _compat.call_attributes(layer, new_class if changes else None)
        return cls(layer, new_class, policy, attributes)

    def assign(self) -> None:
        """Gives the layer this state."""
        # Bypasses Keras' tracking of attributes, which locks a built layer's.
        attributes: dict[str, Any] = vars(self.layer)
        attributes.update(self.call_attributes)
        if self.policy is None:
            attributes.pop("_gradient_policy", None)
            attributes.pop("_training_unrecorded", None)
        else:
            attributes["_gradient_policy"] = self.policy
        self.layer.__class__ = self.cls


@contextlib.contextmanager
def restoring(states: Sequence[LayerState]) -> Iterator[None]:
    """Assigns states, and restores the former ones if the context is left by an error.

    A user's interrupt is such an error, also a second one while states are restored.
    """
    before = [LayerState.present(state.layer) for state in states]
    try:
        for state in states:
            state.assign()
        yield
    except BaseException:
        _restore(before)
        raise


@contextlib.contextmanager
def temporary(states: Sequence[LayerState]) -> Iterator[None]:
    """Assigns states, and restores the former ones in any case."""
    before = [LayerState.present(state.layer) for state in states]
    with restoring(states):
        yield
    _restore(before)


def _restore(before: list[LayerState]) -> None:
    error: BaseException | None = None
    left = list(before)
    while left:
        try:
            left[-1].assign()
            left.pop()
        except KeyboardInterrupt as interrupt:
            error = interrupt
    if error is not None:
        raise error
