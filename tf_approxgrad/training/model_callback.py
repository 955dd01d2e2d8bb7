"""`ModelCallback`: a callback that begins anew with another model."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import keras


class ModelCallback(keras.callbacks.Callback):
    """Base class of callbacks that begin anew with another model.

    So do their deep copies. Later calls of `fit` of the same model go on.
    """

    def __init__(self) -> None:
        super().__init__()
        self._begun_with: weakref.ref[keras.Model] | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forgets what is known of a model; the settings stay."""
        raise NotImplementedError

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        if self._begun_with is not None and self._begun_with() is not model:
            self.begin_anew()
        self._begun_with = weakref.ref(model)

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelCallback:
        duplicate = type(self).__new__(type(self))
        memo[id(self)] = duplicate
        for name, value in self.__getstate__().items():
            is_container = isinstance(value, list | dict | set)
            copied = copy.deepcopy(value, memo) if is_container else value
            duplicate.__dict__[name] = copied
        return duplicate

    def __getstate__(self) -> dict[str, Any]:
        # Keras' own callbacks copy their model, too.
        duplicate = type(self).__new__(type(self))
        duplicate.__dict__.update(vars(self))
        keras.callbacks.Callback.set_model(duplicate, None)
        duplicate._begun_with = None
        duplicate.begin_anew()
        return dict(vars(duplicate))
