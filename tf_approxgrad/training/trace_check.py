"""Checks in `fit` that the training step follows the layers' configuration.

Layers are configured in Python, but a graph is trained. The graph differs if a layer
isn't called with `training=True`, so that its gradient is exact, or if a `tf.function`
keeps an older trace. A schedule stands still if the model is trained by other
optimizers than the one it was compiled with.
"""

from __future__ import annotations

import dataclasses
import warnings
import weakref
from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.conversion.step_binding import require_approximated_layers
from tf_approxgrad.conversion.traversal import convertible_layers
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.layers.policy import LayerPolicy

# Policies of a model's convolutions when it was last trained; `None` for plain ones.
_trained_with: weakref.WeakKeyDictionary[keras.Model, list[LayerPolicy | None]] = (
    weakref.WeakKeyDictionary()
)


def needs_new_trace(model: keras.Model) -> bool:
    """Whether the layers' configuration differs from that of the last trace.

    A part that is shared with another model may have been converted or stripped there.
    """
    convertible = convertible_layers(model)
    policies = [vars(layer).get("_gradient_policy") for layer in convertible]
    before = _trained_with.get(model, policies)
    _trained_with[model] = policies
    return before != policies or any(
        _traced_key(layer) != layer.gradient_policy.graph_key()
        for layer in trained_layers(model)
    )


class TraceCheck:
    """Compares the trace of a training step with the layers' configuration."""

    def __init__(self) -> None:
        self._is_due = False
        self._expected: list[tuple[ApproximateLayer, tuple[Any, ...]]] = []
        self._before: dict[LayerPolicy, _Counts] = {}
        self._warns = True

    def start(self, model: keras.Model, warns: bool = True) -> None:
        """Schedules a comparison after the next training step.

        Args:
            model: The model to be trained.
            warns: Whether to warn of layers that train exactly.
        """
        self._is_due, self._warns = True, warns
        policies = [x.gradient_policy for x in require_approximated_layers(model)]
        self._before = {policy: _Counts.of(policy) for policy in policies}

    def end_batch(self, model: keras.Model) -> None:
        """Compares after the first batch.

        Raises:
            RuntimeError: If the training step doesn't follow the configuration.
        """
        if not self._is_due:
            return
        self._is_due = False
        self._expected = [
            (layer, layer.gradient_policy.graph_key())
            for layer in trained_layers(model)
        ]
        if model.run_eagerly:
            # An eager step may call other layers than the next one.
            self._note_exact(model, trained_layers(model), warns=False)
        else:
            self.end_epoch(model)

    def end_epoch(self, model: keras.Model) -> None:
        """Compares after the first epoch, if the first batch didn't."""
        expected, self._expected = self._expected, []
        _check_all_exact(model, [layer for layer, _ in expected])
        self._note_exact(model, [layer for layer, _ in expected], self._warns)
        _check_stale(
            model,
            [
                x
                for x, key in expected
                if x.gradient_policy.traced and _traced_key(x) != key
            ],
        )

    def _note_exact(
        self, model: keras.Model, layers: list[ApproximateLayer], warns: bool
    ) -> None:
        """Notes which layers trained exactly, and warns of these."""
        exact, partly = [], []
        for layer in layers:
            policy = layer.gradient_policy
            before = self._before.get(policy, _Counts())
            now = _Counts.of(policy)
            if now.calls == before.calls:
                continue  # By an earlier trace.
            policy.trains_exactly = policy.was_exact(before.calls, before.passes)
            if policy.trains_exactly:
                exact.append(layer.name)
            elif now.exact_calls > before.exact_calls and policy.approximates():
                partly.append(layer.name)
        if not warns:
            return
        for names, how in ((exact, "exactly"), (partly, "exactly in some calls")):
            if names:
                warnings.warn(
                    f"{', '.join(names)} of model {model.name!r} train {how}, although "
                    "the schedule approximates: called without training=True, or "
                    "without a gradient of the filters.",
                    stacklevel=4,
                )


@dataclasses.dataclass(frozen=True)
class _Counts:
    """Traced calls and backward passes of a layer so far."""

    exact_calls: int = 0
    calls: int = 0
    passes: int = 0

    @classmethod
    def of(cls, policy: LayerPolicy) -> _Counts:
        calls = policy.exact_calls + policy.training_calls
        return cls(policy.exact_calls, calls, policy.approximate_passes)


class StepCheck:
    """Checks that the optimizer that the step is read from takes steps."""

    def __init__(self) -> None:
        self._before: dict[int, float] | None = None

    def start(self, model: keras.Model) -> None:
        """Records the optimizer's counters at the beginning of training."""
        self._before = _counters(model.optimizer)

    def end_epoch(self, model: keras.Model) -> None:
        """Compares after the first epoch.

        Raises:
            RuntimeError: If the optimizer took no step, and a layer needs the step.
        """
        before, self._before = self._before, None
        if before is None or before != _counters(model.optimizer):
            return
        if any(layer.gradient_policy.needs_step() for layer in trained_layers(model)):
            raise RuntimeError(
                f"the optimizer that model {model.name!r} was compiled with took no "
                "step in the first epoch, so that the schedule stands still: if others "
                "train its parts, leave ApproximationCallback out, and call "
                "tf_approxgrad.bind_step(part, optimizer) for each part before fit."
            )


def _counters(optimizer: keras.optimizers.Optimizer) -> dict[int, float]:
    """The scalars that each call of an optimizer changes, by the variable's `id`.

    Gradient accumulation counts calls before the first step, and the loss scale falls
    at a skipped step. Callbacks may change the learning rate.
    """
    return {
        id(variable): float(tf.convert_to_tensor(variable))
        for variable in optimizer.variables
        if len(variable.shape) == 0 and variable.name != "learning_rate"
    }


def trained_layers(model: keras.Model) -> list[ApproximateLayer]:
    """The converted layers that aren't frozen, by themselves or by a nested model."""
    trained = {id(weight) for weight in model.trainable_weights}
    layers: list[Any] = [*require_approximated_layers(model)]
    return [x for x in layers if any(id(weight) in trained for weight in x.weights)]


def _traced_key(layer: ApproximateLayer) -> tuple[Any, ...] | None:
    traced = layer.gradient_policy.traced
    return None if traced is None else traced.graph_key()


def _check_all_exact(model: keras.Model, layers: list[ApproximateLayer]) -> None:
    # Some layers may be unused in training. If all are, nothing is approximated.
    policies = [x.gradient_policy for x in layers if x.gradient_policy.approximates()]
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
            f"{model.name!r} still train by a trace from before their schedule, "
            "or the optimizer, was replaced: remove @tf.function from their callers. "
            "fit traces the whole training step itself."
        )
