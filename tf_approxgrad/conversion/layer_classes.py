"""Change of layers' classes and gradient policies in place, all or nothing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from tf_approxgrad import _compat
from tf_approxgrad.layers.policy import LayerPolicy


@dataclasses.dataclass(frozen=True)
class LayerClass:
    """The class and the gradient policy of a layer.

    Attributes:
        layer: The layer.
        cls: Its class. A layer's variables, and everything else that it has, stay as
            they are when the class changes.
        policy: Its gradient policy; `None` for a class of Keras.
    """

    layer: keras.layers.Layer
    cls: type[keras.layers.Layer]
    policy: LayerPolicy | None

    @classmethod
    def of(cls, layer: keras.layers.Layer) -> LayerClass:
        """The present class and policy of a layer."""
        return cls(layer, type(layer), vars(layer).get("_gradient_policy"))

    def assign(self) -> None:
        """Gives the layer this class and policy."""
        # Bypasses Keras' tracking of attributes, which locks a built layer's.
        attributes: dict[str, Any] = vars(self.layer)
        if self.policy is None:
            attributes.pop("_gradient_policy", None)
        else:
            attributes["_gradient_policy"] = self.policy
        if type(self.layer) is not self.cls:
            self.layer.__class__ = self.cls
            _compat.read_call_signature(self.layer)


def assign_classes(changes: Sequence[LayerClass]) -> None:
    """Changes the classes and policies of layers: of all, or of none if one fails."""
    before = [LayerClass.of(change.layer) for change in changes]
    try:
        for change in changes:
            change.assign()
    except BaseException:
        _restore(before)
        raise


@contextlib.contextmanager
def temporary_classes(changes: Sequence[LayerClass]) -> Iterator[None]:
    """Changes the classes and policies of layers within a context."""
    before = [LayerClass.of(change.layer) for change in changes]
    try:
        assign_classes(changes)
        yield
    finally:
        _restore(before)


def _restore(before: Iterable[LayerClass]) -> None:
    """Restores all layers, also if the user interrupts meanwhile."""
    interrupt, left = None, list(before)
    while left:
        try:
            left[-1].assign()
            left.pop()
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
