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
        if self._begun_with is not None and self._begun_with() is not model:
            self.begin_anew()
        self._begun_with = weakref.ref(model)
        super().set_model(model)

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelCallback:
        # Not of the model, which Keras' own callbacks copy, too.
        duplicate = copy.copy(self)
        duplicate._model = duplicate._begun_with = None
        duplicate.begin_anew()
        memo[id(self)] = duplicate
        return duplicate
