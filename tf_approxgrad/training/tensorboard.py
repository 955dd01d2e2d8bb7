"""`ApproximationSummaries`: methods, shares and fidelity in TensorBoard."""

from __future__ import annotations

import collections
import functools
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.conversion.step_binding import (
    current_step,
    require_approximated_layers,
)
from tf_approxgrad.conversion.traversal import convertible_layers
from tf_approxgrad.gradients.observer import Observer, RecordedCall, observed_by
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.layers.policy import share_approximated
from tf_approxgrad.measure.backward_pass import backpropagate, preserved_state
from tf_approxgrad.measure.statistics import MEASURES, measures
from tf_approxgrad.methods import FullGradient, GradientMethod
from tf_approxgrad.training.model_callback import ModelCallback
from tf_approxgrad.utils.checks import check_integer


class ApproximationSummaries(ModelCallback):
    """Writes methods, shares and the fidelity of approximation to TensorBoard.

    For each layer `<name>`, under the run `approximation` (`<name>/<index>` if several
    layers have the same name, as in nested models):

    - `<name>/method`, a text: the method in use;
    - `<name>/share_approximated`: the share of steps so far at which the layer was
      approximated; `share_approximated` is that of all layers;
    - with `data`, for each approximate method of its schedule,
      `<name>/<method>/cosine`, `.../relative_error` and `.../norm_ratio`: the
      approximate filter gradient compared with the exact one on the same batch and with
      the current weights. Measuring doesn't affect training: statistics of
      normalisation and random seeds are restored.

    TensorBoard is needed only to view them: `tensorboard --logdir=logs`.

    Args:
        log_dir: Directory to write to, as for `keras.callbacks.TensorBoard`.
        update_freq: `"epoch"`, or an integer n to write after every n steps.
        data: Data to measure the fidelity on: a batch `(x,)`, `(x, y)` or
            `(x, y, sample_weight)`, or a `tf.data.Dataset` of batches, one for each
            measurement. `None` means no measurement. The loss is that of the model's
            `compute_loss`. A measurement costs about a training step for each method.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `update_freq` or `data` isn't allowed. `fit` raises it before
            the first step if `data` doesn't fit the model and its loss.

    Example:

    >>> import tf_approxgrad as tfag
    >>> summaries = tfag.ApproximationSummaries("logs", update_freq=100)
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        update_freq: int | str = "epoch",
        data: Any = None,
    ) -> None:
        super().__init__()
        self.log_dir = os.path.join(log_dir, "approximation")
        if isinstance(update_freq, str):
            if update_freq != "epoch":
                raise ValueError(
                    f"update_freq={update_freq!r} must be 'epoch' or an integer >= 1."
                )
            self.update_freq = None
        else:
            self.update_freq = check_integer("update_freq", update_freq, 1)
        if not isinstance(data, tf.data.Dataset | tuple | list | None):
            raise TypeError(
                "data must be a batch (x, y), a tf.data.Dataset of batches or None, "
                f"got one of type {type(data).__name__}."
            )
        if isinstance(data, tuple | list) and len(data) not in (1, 2, 3):
            raise ValueError(
                "data must be (x,), (x, y) or (x, y, sample_weight), got "
                f"{len(data)} elements."
            )
        self.data = data

    def begin_anew(self) -> None:
        self._batches: Iterator[Any] | None = None
        self._measure: tuple[Any, Any] | None = None
        self._writer: Any = None
        self._step = 0
        self._check_is_due = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        require_approximated_layers(self.model)
        self._check_is_due = True
        self._writer = tf.summary.create_file_writer(self.log_dir)
        self._step = current_step(self.model)

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # Not at the beginning of training, where a later callback binds the step.
        if self._check_is_due and self.data is not None:
            self._check_measurement()
        self._check_is_due = False

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self.update_freq is None:
            return
        before, self._step = self._step, current_step(self.model)
        # Several steps may have passed, or none.
        if self._step // self.update_freq > before // self.update_freq:
            self.write()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.update_freq is None:
            self._step = current_step(self.model)
            self.write()
        if self._step == 0:
            warnings.warn(
                "ApproximationSummaries has written nothing so far, because the "
                f"optimizer that model {self.model.name!r} was compiled with has taken "
                "no step: it may still gather gradients, or others train the model.",
                stacklevel=2,
            )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._writer.close()

    def write(self) -> None:
        """Writes the summaries of the current step."""
        step = self._step
        if step == 0:
            return
        layers = require_approximated_layers(self.model)
        with self._writer.as_default(step=step):
            shared = share_approximated([x.gradient_policy for x in layers], step)
            _write_scalar("share_approximated", shared)
            for layer, tag in self._tagged(layers):
                policy = layer.gradient_policy
                _write_text(f"{tag}/method", policy.method_at(step - 1).label)
                share = share_approximated([policy], step)
                _write_scalar(f"{tag}/share_approximated", share)
            if self.data is not None:
                self._write_fidelity(layers)
        self._writer.flush()

    def _check_measurement(self) -> None:
        """Raises if the fidelity can't be measured, before the first step."""
        data = self.data
        if isinstance(data, tf.data.Dataset):
            data = next(iter(data))
        layers = require_approximated_layers(self.model)
        try:
            with preserved_state(self.model):
                measure = self._measure_function(layers)
                measure.get_concrete_function(*_as_batch(data))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"data of ApproximationSummaries doesn't fit model {self.model.name!r} "
                f"and its compute_loss, which measure the fidelity: {error}"
            ) from error

    def _write_fidelity(self, layers: list[ApproximateLayer]) -> None:
        with preserved_state(self.model):
            measured = self._measure_function(layers)(*self._next_batch())
        for (_, tag), methods in zip(self._tagged(layers), measured, strict=True):
            for label, values in methods.items():
                for name, value in zip(MEASURES, values.numpy(), strict=True):
                    _write_scalar(f"{tag}/{label}/{name}", float(value))

    def _tagged(
        self, layers: list[ApproximateLayer]
    ) -> list[tuple[ApproximateLayer, str]]:
        """The layers, each with a unique tag."""
        names = collections.Counter(layer.name for layer in layers)
        counted = enumerate(convertible_layers(self.model), start=1)
        indices = {id(layer): index for index, layer in counted}
        return [
            (x, x.name if names[x.name] == 1 else f"{x.name}/{indices[id(x)]}")
            for x in layers
        ]

    def _next_batch(self) -> tuple[Any, Any, Any]:
        data = self.data
        if isinstance(data, tf.data.Dataset):
            if self._batches is None:
                self._batches = iter(data.repeat())
            data = next(self._batches)
        return _as_batch(data)

    def _measure_function(self, layers: list[ApproximateLayer]) -> Any:
        keys = [layer.gradient_policy.graph_key() for layer in layers]
        key = (self.model, self.model.optimizer, *keys)
        if self._measure is None or self._measure[0] != key:
            self._measure = (key, self._make_measure_function(layers))
        return self._measure[1]

    def _make_measure_function(self, layers: list[ApproximateLayer]) -> Any:
        model = self.model

        @tf.function(autograph=False)
        def measure(x: Any, y: Any, sample_weight: Any) -> Any:
            with observed_by(Observer()) as observer:
                backpropagate(model, x, y, sample_weight)
            return [
                _measures_of(observer.filter_calls[policy], policy.row())
                for policy in (layer.gradient_policy for layer in layers)
            ]

        return measure


def _as_batch(data: Any) -> tuple[Any, Any, Any]:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    convert = functools.partial(tf.nest.map_structure, tf.convert_to_tensor)
    target = None if y is None else convert(y)
    weights = None if sample_weight is None else convert(sample_weight)
    return convert(x), target, weights


def _measures_of(
    calls: Sequence[RecordedCall], methods: Iterable[GradientMethod]
) -> dict[str, tf.Tensor]:
    """The values of `MEASURES` for each approximate method, by label.

    The gradient of a layer is the sum over its calls; a layer without calls has no
    values.
    """
    approximate = [m for m in dict.fromkeys(methods) if not m.is_exact]
    if not calls or not approximate:
        return {}

    def gradient(method: GradientMethod) -> tf.Tensor:
        return tf.add_n([call.gradient(method) for call in calls])

    exact = gradient(FullGradient())
    return {method.label: measures(gradient(method), exact) for method in approximate}


def _write_scalar(tag: str, value: float) -> None:
    _write(tag, tf.constant(value, tf.float32), "scalars", data_class=1)


def _write_text(tag: str, text: str) -> None:
    _write(tag, tf.constant(text), "text", data_class=2)


def _write(tag: str, value: tf.Tensor, plugin: str, data_class: int) -> None:
    # tf.summary.scalar and text need TensorBoard installed.
    metadata = tf.compat.v1.SummaryMetadata(data_class=data_class)
    metadata.plugin_data.plugin_name = plugin
    tf.summary.write(tag, value, metadata=metadata)
