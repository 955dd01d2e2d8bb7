"""`Plan`: a method for each layer, with what was measured."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import rich.console

from tf_approxgrad.methods import ExactGradient, GradientMethod
from tf_approxgrad.planning import prediction, report
from tf_approxgrad.planning.exact_runs import BatchRun
from tf_approxgrad.planning.figures import LayerPlan, PlanFigures, filters_shape
from tf_approxgrad.planning.prediction import Prediction
from tf_approxgrad.schedules import Schedule, TableSchedule
from tf_approxgrad.schedules.arguments import check_cell, layer_names
from tf_approxgrad.utils.files import write_whole
from tf_approxgrad.utils.machine import machine_name
from tf_approxgrad.utils.tables import as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, repr=False)
class Plan(PlanFigures, Schedule):
    """A method for each layer, chosen by measured times and variances.

    `tf_approxgrad.plan` returns it. A plan is a schedule, and goes wherever a schedule
    goes. `print` shows a report; so does `rich.print`, in colours.

    An unbiased method whose gradients have tau times as much variance as the
    minibatch's own behaves like exact training with a batch of B / (1 + tau). So a step
    that is `speed_up` times as fast is worth `net = speed_up / (1 + tau)`.

    Attributes:
        model_name: Name of the model.
        layers: A `LayerPlan` for each convertible layer, in the model's layer order.
        batch_size: Examples of a minibatch, B.
        full_step_ms: Median time of a step of the plain Keras model, in milliseconds.
        exact_step_ms: Predicted time of a step with all gradients exact by the fastest
            kernels.
        predicted_step_ms: Predicted time of a step with the plan.
        speed_up: How many times as fast as a plain step one with the plan is: the
            median over steps in turns.
        tau: Extra variance over the minibatch variance.
        max_extra_variance: The bound of tau.
        counts_by_layer: Whether tau is the mean of the layers' own, by their numbers of
            weights, as for Adam; otherwise it is of the sums over all weights, as for
            SGD.
        noise_batch: Batch size at which the gradient's noise equals its signal,
            tr(Sigma) / |g|^2; 0 if the signal can't be told from the noise.
        curve: Pairs of a bound of tau and the best net gain within it, predicted.
        alternatives: What a user could do instead.
        machine: The processor that the times are of.
        verdict: The result in a sentence.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(8, 8, 1))
    >>> x, y = np.random.normal(size=(64, 8, 8, 1)), np.arange(64) % 10
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> plan = tfag.plan(model, x, y, batch_size=16, loss=loss, verbose=False)
    >>> plan.net == plan.speed_up / (1 + plan.tau)
    True
    >>> tfag.Plan.from_json(plan.to_json()) == plan
    True
    """

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, _ = check_cell(layer, step, replica)
        if layer > len(self.layers):
            raise ValueError(
                f"layer must be from 1 to {len(self.layers)}, the number of the plan's "
                f"layers, got {layer}"
            )
        return self.layers[layer - 1].method

    @property
    def input_gradient(self) -> GradientMethod | None:
        return ExactGradient()

    @property
    def schedule(self) -> Schedule:
        """The methods alone, as a `TableSchedule`."""
        return TableSchedule([[layer.method] for layer in self.layers])

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        names = layer_names(layers)
        if len(names) != len(self.layers):
            raise ValueError(
                f"the plan of model {self.model_name!r} has {len(self.layers)} layers, "
                f"but the model has {len(names)} convertible ones "
                f"({', '.join(names)}): make a plan for this model."
            )
        for index, (planned, layer) in enumerate(
            zip(self.layers, layers, strict=True), start=1
        ):
            found = filters_shape(layer)
            if found and found != planned.filters:
                raise ValueError(
                    f"the plan of model {self.model_name!r} was made for filters of "
                    f"shape {planned.filters} in layer {index} ({planned.name!r}), but "
                    f"layer {layer.name!r} has {found}: make a plan for this model."
                )
        here = machine_name()
        if here != self.machine:
            warnings.warn(
                f"the plan was made on {self.machine!r}, and this is {here!r}: its "
                "times aren't those of this machine. Make another with "
                "tf_approxgrad.plan.",
                stacklevel=3,
            )
        return self

    def predict(
        self,
        runs: Sequence[BatchRun] | Mapping[int, Any] | None = None,
        *,
        history: Any = None,
        tau: float | None = None,
    ) -> Prediction:
        """Predicts what training with the plan loses, in as many steps.

        Exact training with batch B / (1 + tau) is as noisy as the plan. So `runs`, a
        few exact ones at several batch sizes and with the same number of steps, tell
        the loss and the accuracy: those at that batch size, on the line of least
        squares over 1 / sqrt(batch size). They may be shorter than the training that is
        planned, but what they lose then is that of short training. With `history`, of
        one exact run with batch B, they are what it had earlier by the factor
        1 + tau * noise_batch / (B + noise_batch). Without both, only the factor is
        predicted.

        Biased methods lose what no variance tells: don't trust the prediction there.

        Args:
            runs: `BatchRun` objects, at least two batch sizes; or a dict of Keras
                `History` objects, or of dicts with "loss" and perhaps "accuracy", by
                batch size. A list of these means several runs with other seeds. From
                three runs on the prediction has a standard deviation. The final loss of
                a `History` is the mean over the last tenth of its epochs; its accuracy
                is that of the validation, if it has one.
            history: A Keras `History`, or a list of the losses by epoch or step.
            tau: Extra variance, at least 0. `None` means the plan's own. Pass the mean
                over training where it is known, as from the logs of `AdaptivePlan`.

        Returns:
            A `Prediction`.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If `runs` and `history` are both given; if runs are of fewer
                than two batch sizes, differ in steps, or all have more than twice or
                less than half of the batch that is asked for; or if a value isn't
                allowed, such as NaN.

        Example:

        >>> import keras
        >>> import numpy as np
        >>> import tf_approxgrad as tfag
        >>> model = tfag.models.cnn2(input_shape=(8, 8, 1))
        >>> x, y = np.random.normal(size=(256, 8, 8, 1)), np.arange(256) % 10
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> plan = tfag.plan(model, x, y, batch_size=128, loss=loss, verbose=False)
        >>> runs = {
        ...     128: {"loss": 0.28, "accuracy": 0.89},
        ...     64: {"loss": 0.34, "accuracy": 0.88},
        ... }
        >>> print(plan.predict(runs, tau=0.25).effective_batch)
        102.4
        """
        return prediction.predict(self, runs, history, tau)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the plan as JSON.

        Args:
            path: Path of a file to write it to, as a whole or not at all. `None` writes
                no file.

        Returns:
            The text.
        """
        text = json.dumps(keras.saving.serialize_keras_object(self), indent=1)
        if path is not None:
            write_whole(path, text)
        return text

    @classmethod
    def from_json(cls, text: str | os.PathLike[str]) -> Plan:
        """Reads a plan.

        Args:
            text: JSON as from `to_json`, or the path of a file of it.

        Returns:
            The plan.

        Raises:
            ValueError: If it isn't the JSON of a plan, as of a file that was cut off.
            FileNotFoundError: If there is no such file.
        """
        is_text = isinstance(text, str) and text.lstrip().startswith("{")
        content = str(text) if is_text else Path(text).read_text(encoding="utf-8")
        try:
            plan = keras.saving.deserialize_keras_object(json.loads(content))
        # Keras raises many types of error for a dict that it can't read.
        except Exception as error:
            raise ValueError(
                f"{'the text' if is_text else text} isn't the JSON of a plan, or is "
                f"cut off: {str(error).splitlines()[0]}"
            ) from error
        if not isinstance(plan, cls):
            raise ValueError(
                f"{'the text' if is_text else text} holds a {type(plan).__name__}, "
                "not a plan."
            )
        return plan

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Plan:
        config = {
            name: keras.saving.deserialize_keras_object(value)
            for name, value in config.items()
        }
        config["layers"] = tuple(config["layers"])
        config["alternatives"] = tuple(config["alternatives"])
        config["curve"] = tuple(tuple(point) for point in config["curve"])
        return cls(**config)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes a line for each layer, at full precision.

        Args:
            path: Path of the file, which is overwritten if it exists. Columns are the
                index and the attributes of `LayerPlan`; methods are written as labels.
        """
        names = [field.name for field in dataclasses.fields(LayerPlan)]
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["index", *names])
            for index, layer in enumerate(self.layers, start=1):
                values = {name: getattr(layer, name) for name in names}
                values["filters"] = "x".join(map(str, layer.filters))
                values["method"] = layer.method.label
                writer.writerow([index, *values.values()])

    def plot(  # type: ignore[override]
        self, axes: Sequence[Axes] | None = None
    ) -> Sequence[Axes]:
        """Draws the gain by layer, and the best net gain over the bound of tau.

        Args:
            axes: Two Matplotlib Axes to draw on. `None` makes a new figure.

        Returns:
            The Axes. Save the figure with `axes[0].figure.savefig(path)`.

        Raises:
            ImportError: If matplotlib isn't installed.
        """
        return report.plot(self, axes)

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return (
            f"Plan(model_name={self.model_name!r}, batch_size={self.batch_size}, "
            f"speed_up={self.speed_up:.3g}, tau={self.tau:.3g})"
        )

    def __rich_console__(
        self, console: rich.console.Console, options: rich.console.ConsoleOptions
    ) -> rich.console.RenderResult:
        del console, options
        yield from report.renderables(self)
