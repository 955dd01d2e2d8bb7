"""Finds out in `fit` whether the layers train as they were told.

A layer is told its schedule in Python, and what trains is a graph. The two differ where
the layer isn't called with `training=True`, so that its gradient is exact, or where a
`tf.function` keeps a graph that was traced before. A schedule stands still where other
optimizers train the model than the one that it was compiled with.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.conversion.step_binding import require_approximated_layers
from tf_approxgrad.layers.base import ApproximateLayer


def needs_new_trace(model: keras.Model) -> bool:
    """Whether a training step that was traced before holds something else."""
    return any(
        _traced_key(layer) != layer.gradient_policy.graph_key()
        for layer in _trained_layers(model)
    )


class TraceCheck:
    """Compares what was traced in a training step with what the layers were told."""

    def __init__(self) -> None:
        self._is_due = False
        self._told: list[tuple[ApproximateLayer, tuple[Any, ...]]] = []

    def start(self) -> None:
        """Says that the next training step is traced anew, or was traced alike."""
        self._is_due = True

    def end_batch(self, model: keras.Model) -> None:
        """Compares after the first batch.

        Raises:
            RuntimeError: If the layers don't train as they were told.
        """
        if not self._is_due:
            return
        self._is_due = False
        self._told = [
            (layer, layer.gradient_policy.graph_key())
            for layer in _trained_layers(model)
        ]
        # A step that isn't traced may call other layers than the next one.
        if not model.run_eagerly:
            self.end_epoch(model)

    def end_epoch(self, model: keras.Model) -> None:
        """Compares what the first batch left for later."""
        told, self._told = self._told, []
        _check_all_exact(model, [layer for layer, _ in told])
        _check_stale(
            model,
            [
                x
                for x, key in told
                if x.gradient_policy.traced and _traced_key(x) != key
            ],
        )


class StepCheck:
    """Finds out whether the optimizer that the step is read from takes steps."""

    def __init__(self) -> None:
        self._before: dict[int, float] | None = None

    def start(self, model: keras.Model) -> None:
        """Remembers where the optimizer is as training begins."""
        self._before = _counters(model.optimizer)

    def end_epoch(self, model: keras.Model) -> None:
        """Compares after the first epoch.

        Raises:
            RuntimeError: If the optimizer did nothing, and a layer needs the step.
        """
        before, self._before = self._before, None
        if before is None or before != _counters(model.optimizer):
            return
        if any(layer.gradient_policy.needs_step() for layer in _trained_layers(model)):
            raise RuntimeError(
                f"the optimizer that model {model.name!r} was compiled with took no "
                "step in the first epoch, so that the schedule stands still: if others "
                "train its parts, leave ApproximationCallback out, and call "
                "tf_approxgrad.bind_step(part, optimizer) for each part before fit."
            )


def _counters(optimizer: keras.optimizers.Optimizer) -> dict[int, float]:
    """What each call of an optimizer changes, by the variable's `id`.

    Gradient accumulation counts before there is a step, and the scale of the loss falls
    at one that is skipped. The learning rate is for callbacks to change.
    """
    return {
        id(variable): float(tf.convert_to_tensor(variable))
        for variable in optimizer.variables
        if len(variable.shape) == 0 and variable.name != "learning_rate"
    }


def _trained_layers(model: keras.Model) -> list[ApproximateLayer]:
    """The converted layers that aren't frozen, by themselves or by a model in it."""
    trained = {id(weight) for weight in model.trainable_weights}
    layers: list[Any] = [*require_approximated_layers(model)]
    return [x for x in layers if any(id(weight) in trained for weight in x.weights)]


def _traced_key(layer: ApproximateLayer) -> tuple[Any, ...] | None:
    traced = layer.gradient_policy.traced
    return None if traced is None else traced.graph_key()


def _check_all_exact(model: keras.Model, layers: list[ApproximateLayer]) -> None:
    # A model may have layers that training doesn't use. If that is all of them, nothing
    # is approximated either.
    policies = [x.gradient_policy for x in layers if not x.gradient_policy.is_exact()]
    if policies and all(x.traced is None for x in policies):
        raise RuntimeError(
            f"no converted layer of model {model.name!r} was called with training=True "
            "in the training step, so that all its filter gradients are exact: call "
            "the model, and the models in it, with training=True, and through no "
            "tf.function that was traced before the model was converted."
        )


def _check_stale(model: keras.Model, layers: list[ApproximateLayer]) -> None:
    if layers:
        raise RuntimeError(
            f"layers {', '.join(layer.name for layer in layers)} of model "
            f"{model.name!r} still train with what was traced before their schedule, "
            "or the optimizer, was replaced: take @tf.function off what calls them. "
            "fit traces the whole training step by itself."
        )
