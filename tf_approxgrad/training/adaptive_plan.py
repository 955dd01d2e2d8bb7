"""`AdaptivePlan`: a plan that is made again while training."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from tf_approxgrad import methods as gradient_methods
from tf_approxgrad.conversion.step_binding import bind_step
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.methods import MethodLike
from tf_approxgrad.planning.adaptation import Adaptation, Decision
from tf_approxgrad.planning.candidates import parse_candidates
from tf_approxgrad.training.callback import ApproximationCallback
from tf_approxgrad.utils.checks import check_finite, check_integer
from tf_approxgrad.utils.files import write_whole

# Backward passes over which variances are measured.
_PASSES = 8


class AdaptivePlan(ApproximationCallback):
    """Approximates filter gradients where that pays, and decides again while training.

    Gradients become more concentrated in training, so that little is approximated in
    the first epochs, and more later. At the beginning of each epoch, or every n steps,
    the layers compute 8 gradients exactly and measure two variances: that of the
    minibatch, and the one that each method would add. Then each layer's method is
    chosen for the least time to the same loss, T * (1 + tau), with tau at most
    `max_extra_variance`. Where nothing gains 3%, the gradients are exact. The choice is
    a variable in the graph: nothing is traced again.

    The times of the methods are measured once, after the first 8 steps, on random
    tensors of the layers' sizes. Layers stay exact if their sizes aren't known before
    training, if they are called more than once in a step, or are transposed or
    separable. With SGD, tau is over the minibatch variance of the layers that adapt,
    which is less than that of all weights.

    After each epoch the logs, and so the progress bar, `History` and TensorBoard, have
    `plan_speed_up`, over exact gradients by the fastest kernels and as predicted,
    `plan_tau` and `plan_net`, which is `plan_speed_up / (1 + plan_tau)`.

    The model must be converted, by `approximate_gradients(model)` without a schedule.
    `AdaptivePlan` does what `ApproximationCallback` does. In a custom loop, call
    `attach` before the training step is traced, and `update` after each step.

    Args:
        max_extra_variance: Bound of tau, at least 0.
        every: `"epoch"`, or an integer n, at least 16, to decide every n steps.
        methods: Methods to choose from, as for `tf_approxgrad.plan`. `None` means
            `RowSampledGradient` with `probability="product"` and `keep_largest`, at
            six shares from 3/4 to 1/8.
        path: Path of a JSON file in which the decisions are kept, with their steps. If
            it exists, training goes on with the one that holds at the optimizer's step.
            `None` keeps none: training that is resumed starts exact.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument isn't allowed.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import tf_approxgrad as tfag
    >>> x, y = np.random.normal(size=(128, 8, 8, 1)), np.arange(128) % 10
    >>> model = tfag.approximate_gradients(tfag.models.cnn2(input_shape=(8, 8, 1)))
    >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
    >>> history = model.fit(
    ...     x, y, batch_size=8, callbacks=[tfag.AdaptivePlan()], verbose=0
    ... )
    >>> sorted(history.history)
    ['loss', 'plan_net', 'plan_speed_up', 'plan_tau']
    """

    def __init__(
        self,
        max_extra_variance: float = 0.05,
        every: int | str = "epoch",
        methods: MethodLike | Iterable[MethodLike] | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.max_extra_variance = check_finite(
            "max_extra_variance", max_extra_variance, "a number of at least 0", low=0
        )
        if isinstance(every, str):
            if every != "epoch":
                raise ValueError(
                    f"every={every!r} must be 'epoch' or an integer >= 16."
                )
        else:
            every = check_integer("every", every, 2 * _PASSES)
        self.every = every
        self.methods = parse_candidates(methods, probabilities=("product",))
        if not self.methods:
            raise ValueError(
                f"methods={methods!r} must hold a method that isn't exact, or be None."
            )
        self.path = None if path is None else Path(path)
        # Keras waits for each batch, as its time counts.
        self.async_safe = False

    def begin_anew(self) -> None:
        super().begin_anew()
        self._adaptation: Adaptation | None = None
        self._decisions: list[Decision] = []
        self._is_measuring = False
        self._seconds: list[float] = []
        self._last_batch = -1
        self._steps = 0
        self._started = 0.0
        self._optimizer: keras.optimizers.Optimizer | None = None

    @property
    def decision(self) -> Decision | None:
        """The decision that holds; `None` before the first."""
        return self._decisions[-1] if self._decisions else None

    def attach(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
    ) -> None:
        """Lets a model's layers follow the plan; for custom training loops.

        Args:
            model: A model with converted layers, whose training step hasn't been traced
                yet.
            optimizer: The optimizer that trains it. `None` means the one that it was
                compiled with.

        Raises:
            ValueError: If `every` is `"epoch"`, the model has no converted layer or no
                optimizer, or `path` holds something else than decisions.
        """
        if self.every == "epoch":
            raise ValueError(
                "every='epoch' of AdaptivePlan needs fit: pass an integer >= 16 for a "
                "custom training loop."
            )
        self.set_model(model)
        optimizer = optimizer or getattr(model, "optimizer", None)
        if optimizer is None:
            raise ValueError(
                f"model {model.name!r} isn't compiled: pass the optimizer that trains "
                "it."
            )
        self._prepare(optimizer)
        bind_step(model, optimizer)

    def update(self) -> Decision | None:
        """Counts a training step; for custom training loops.

        Returns:
            The decision that holds from here on; `None` before the first.
        """
        if self._adaptation is None:
            raise RuntimeError(
                "update of AdaptivePlan must follow attach(model, optimizer)."
            )
        self._advance(1)
        return self.decision

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._prepare(self.model.optimizer)
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._last_batch = -1
        self._started = time.perf_counter()
        if self.every == "epoch":
            self._measure()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        super().on_train_batch_end(batch, logs)
        steps, self._last_batch = batch - self._last_batch, batch
        self._advance(steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        decision = self.decision
        if logs is not None and decision is not None:
            logs["plan_speed_up"] = decision.speed_up
            logs["plan_tau"] = decision.tau
            logs["plan_net"] = decision.net

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the model with exact gradients."""
        if self._adaptation is not None:
            self._adaptation.apply(None, self._step())
            self._is_measuring = False

    def describe(self, layers: Sequence[ApproximateLayer]) -> str:
        choices = [x for x in layers if x.gradient_policy.choice is not None]
        labels = ", ".join(method.label for method in self.methods)
        return (
            f"Filter gradients of {len(choices)} of {len(layers)} convolutions by a "
            f"plan that adapts: exact, {labels}."
        )

    def _prepare(self, optimizer: keras.optimizers.Optimizer) -> None:
        self._optimizer = optimizer
        if self._adaptation is None or not self._adaptation.fits(optimizer):
            adaptation = Adaptation(
                self.model, optimizer, self.methods, self.max_extra_variance
            )
            self._decisions = self._decisions or self._read(self._step())
            self._adaptation = adaptation
        self._adaptation.attach()
        self._adaptation.apply(self.decision, self._step())
        self._started = time.perf_counter()
        if self.every != "epoch" and not self._decisions:
            self._measure()

    def _advance(self, steps: int) -> None:
        adaptation = self._adaptation
        assert adaptation is not None
        now = time.perf_counter()
        self._seconds += [(now - self._started) / steps] * steps
        self._started = now
        self._steps += steps
        if self._is_measuring:
            if adaptation.passes >= _PASSES:
                self._decide()
        elif isinstance(self.every, int) and self._steps >= self.every:
            self._measure()

    def _measure(self) -> None:
        assert self._adaptation is not None
        if not self._is_measuring:
            self._is_measuring, self._steps = True, 0
            self._adaptation.measure(self._step())

    def _decide(self) -> None:
        """Decides, at the end of the measured steps."""
        adaptation = self._adaptation
        assert adaptation is not None
        step_ms = 1e3 * statistics.median(self._seconds)
        decision = adaptation.decide(self._step(), step_ms, self.decision)
        adaptation.apply(decision, decision.step)
        self._decisions.append(decision)
        self._is_measuring = False
        self._seconds.clear()
        self._started = time.perf_counter()
        self._write()

    def _step(self) -> int:
        assert self._optimizer is not None
        return int(keras.ops.convert_to_numpy(self._optimizer.iterations))

    def _write(self) -> None:
        if self.path is None:
            return
        records = [
            {
                "step": decision.step,
                "methods": {
                    str(index): keras.saving.serialize_keras_object(method)
                    for index, method in decision.methods.items()
                },
                "speed_up": decision.speed_up,
                "tau": decision.tau,
            }
            for decision in self._decisions
        ]
        write_whole(self.path, json.dumps(records, indent=1))

    def _read(self, step: int) -> list[Decision]:
        """The decisions up to a step in the file, if there is one."""
        if self.path is None or not self.path.exists():
            return []
        try:
            decisions = [
                Decision(
                    int(record["step"]),
                    {
                        int(index): gradient_methods.get(config)
                        for index, config in record["methods"].items()
                    },
                    float(record["speed_up"]),
                    float(record["tau"]),
                )
                for record in json.loads(self.path.read_text(encoding="utf-8"))
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"path={str(self.path)!r} must be a file of AdaptivePlan's decisions, "
                f"or a new one: {error}"
            ) from error
        unknown = [
            method
            for decision in decisions
            for method in decision.methods.values()
            if method not in self.methods
        ]
        if unknown:
            raise ValueError(
                f"path={str(self.path)!r} holds {unknown[0]!r}, which isn't one of "
                "methods: pass the methods of the run that wrote it, or a new path."
            )
        return [decision for decision in decisions if decision.step <= step]
