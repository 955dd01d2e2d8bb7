"""`AdaptivePlan`: a plan that is made again while training."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from tf_approxgrad.conversion.step_binding import (
    bind_step,
    require_approximated_layers,
)
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.methods import MethodLike, by_share
from tf_approxgrad.planning.adaptation import Adaptation
from tf_approxgrad.planning.candidates import parse_candidates
from tf_approxgrad.planning.decisions import (
    Decision,
    read_decisions,
    write_decisions,
)
from tf_approxgrad.training.callback import ApproximationCallback
from tf_approxgrad.utils.checks import check_finite, check_integer

# Backward passes over which variances are measured, at least.
_PASSES = 8
# The most that measuring at each epoch takes of the time.
_LARGEST_SHARE = 0.01


class AdaptivePlan(ApproximationCallback):
    """Approximates filter gradients where that pays, and decides again while training.

    Gradients become more concentrated in training, so that little is approximated in
    the first epochs, and more later. At the beginning of an epoch, or every n steps,
    the layers compute 8 gradients exactly and measure two variances: that of the
    minibatch, and the one that each method would add. Then each layer's method is
    chosen for the least time to the same loss, T * (1 + tau), with tau at most
    `max_extra_variance`. Where nothing gains 3%, the gradients are exact. The choice is
    a variable in the graph: nothing is traced again. Epochs are skipped while measuring
    would take more than 1% of the time.

    The times of the methods are measured once, after the first 8 steps, on random
    tensors of the layers' sizes, which takes about as long as a hundred steps. Layers
    stay exact if their sizes aren't known before training, if they are called more than
    once in a step, or are transposed or separable. With SGD, tau is over the minibatch
    variance of the layers that adapt, which is less than that of all weights.

    After each epoch the logs, and so the progress bar, `History` and TensorBoard, have
    `plan_speed_up`, over exact gradients by the fastest kernels and as predicted,
    `plan_tau` and `plan_net`, which is `plan_speed_up / (1 + plan_tau)`.

    The model must be converted, by `approximate_gradients(model)` without a schedule.
    `AdaptivePlan` does what `ApproximationCallback` does. After training the model's
    gradients are exact; after an interrupted `fit` they may not be, until the next. In
    a custom loop, call `attach` before the training step is traced, and `update` after
    each step.

    Args:
        max_extra_variance: Bound of tau, at least 0.
        every: `"epoch"`, or an integer n to decide every n steps: at least 16, or twice
            the number of methods that differ in share alone.
        methods: Methods to choose from, as for `tf_approxgrad.plan`. `None` means
            `TileSampledGradient`, and `RowSampledGradient` with `probability="product"`
            and `keep_largest`, at shares of 1/2, 1/4 and 1/8.
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
        # Fewer than a plan chooses from: all are measured in training.
        self.methods = parse_candidates(methods, ["product"], [0.5, 0.25, 0.125])
        if not self.methods:
            raise ValueError(
                f"methods={methods!r} must hold a method that isn't exact, or be None."
            )
        # Methods that differ in share alone are drawn in turns.
        self._passes = max(_PASSES, *map(len, by_share(self.methods)))
        if isinstance(every, str):
            if every != "epoch":
                raise ValueError(
                    f"every={every!r} must be 'epoch' or an integer >= "
                    f"{2 * self._passes}."
                )
        else:
            every = check_integer("every", every, 2 * self._passes)
        self.every = every
        self.path = None if path is None else Path(path)
        # Keras waits for each batch, as its time counts.
        self.async_safe = False

    def begin_anew(self) -> None:
        super().begin_anew()
        self._adaptation: Adaptation | None = None
        self._optimizer: keras.optimizers.Optimizer | None = None
        self._decisions: list[Decision] = []
        self._is_resumed = False
        self._is_measuring = False
        self._scale: float | None = None
        # Steps since measuring began, their times, and those of other steps.
        self._steps = 0
        self._measured_seconds: list[float] = []
        self._seconds: list[float] = []
        self._last_batch = -1
        self._started = 0.0
        # When measuring ended, and the seconds that it took beyond other steps.
        self._decided = -math.inf
        self._overhead = 0.0

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
                "every='epoch' of AdaptivePlan needs fit: pass an integer >= "
                f"{2 * self._passes} for a custom training loop."
            )
        optimizer = optimizer or getattr(model, "optimizer", None)
        if optimizer is None:
            raise ValueError(
                f"model {model.name!r} isn't compiled: pass the optimizer that trains "
                "it."
            )
        self.set_model(model)
        self._prepare(optimizer, require_approximated_layers(model))
        bind_step(model, optimizer)
        self._begin()

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

    def prepare_layers(self, layers: Sequence[ApproximateLayer]) -> None:
        self._prepare(self.model.optimizer, layers)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._last_batch = -1
        # Callbacks that restore a checkpoint have done so.
        self._begin()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        super().on_train_batch_end(batch, logs)
        steps, self._last_batch = batch - self._last_batch, batch
        self._advance(steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            decision = self.decision or Decision(0, {}, 1.0, 0.0)
            logs["plan_speed_up"] = decision.speed_up
            logs["plan_tau"] = decision.tau
            logs["plan_net"] = decision.net

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the model with exact gradients."""
        if self._adaptation is not None:
            self._adaptation.apply(None, self._step())

    def describe(self, layers: Sequence[ApproximateLayer]) -> str:
        choices = [x for x in layers if x.gradient_policy.choice is not None]
        labels = ", ".join(dict.fromkeys(method.name for method in self.methods))
        return (
            f"Filter gradients of {len(choices)} of {len(layers)} convolutions by a "
            f"plan that adapts: exact, {labels}."
        )

    def _prepare(
        self,
        optimizer: keras.optimizers.Optimizer,
        layers: Sequence[ApproximateLayer],
    ) -> None:
        """Attaches the choices to the layers, before they are traced."""
        for layer in layers:
            policy = layer.gradient_policy
            if policy.choice is None and policy.approximates():
                raise ValueError(
                    f"layer {layer.name!r} follows {policy.schedule!r}, which "
                    "approximates: convert the model with "
                    "tf_approxgrad.approximate_gradients(model), without a schedule, "
                    "for AdaptivePlan to choose."
                )
            if policy.input_method is not None and not policy.input_method.is_exact:
                raise ValueError(
                    f"input_gradient={policy.input_method!r} of layer {layer.name!r} "
                    "must be exact under AdaptivePlan: convert the model with "
                    "tf_approxgrad.approximate_gradients(model)."
                )
        self._optimizer = optimizer
        self._is_measuring = False
        if self._adaptation is None or not self._adaptation.fits(optimizer):
            self._adaptation = Adaptation(
                self.model, optimizer, self.methods, self.max_extra_variance
            )
        self._adaptation.attach()

    def _begin(self) -> None:
        """Begins an epoch, or a custom training loop."""
        assert self._adaptation is not None
        if not self._is_resumed and self.path is not None:
            step = self._step()
            found = read_decisions(self.path, self.methods)
            self._decisions = [x for x in found if x.step <= step]
        self._is_resumed = True
        if not self._is_measuring:
            self._adaptation.apply(self.decision, self._step())
        elapsed = time.perf_counter() - self._decided
        is_due = self.every == "epoch" and self._overhead <= _LARGEST_SHARE * elapsed
        if not self._is_measuring and (is_due or not self._decisions):
            self._measure()
        self._started = time.perf_counter()

    def _advance(self, steps: int) -> None:
        now = time.perf_counter()
        seconds = self._measured_seconds if self._is_measuring else self._seconds
        seconds += [(now - self._started) / steps] * steps
        self._started = now
        self._steps += steps
        if self._is_measuring:
            if self._steps >= self._passes:
                self._decide()
        elif isinstance(self.every, int) and self._steps >= self.every:
            self._measure()

    def _measure(self) -> None:
        assert self._adaptation is not None
        self._is_measuring, self._steps = True, 0
        self._measured_seconds = []
        self._scale = self._loss_scale()
        self._adaptation.measure(self._step())

    def _decide(self) -> None:
        """Decides, at the end of the measured steps."""
        assert self._adaptation is not None
        measured = statistics.median(self._measured_seconds)
        usual = statistics.median(self._seconds or self._measured_seconds)
        decision = None
        if self._loss_scale() == self._scale:
            decision = self._adaptation.decide(
                self._step(), self._steps, 1e3 * usual, self.decision
            )
        if decision is None:
            # Gradients of different scales, or that overflowed, say nothing.
            self._measure()
            return
        self._adaptation.apply(decision, decision.step)
        self._decisions.append(decision)
        if self.path is not None:
            write_decisions(self.path, self._decisions)
        self._is_measuring, self._seconds = False, []
        self._decided = self._started = time.perf_counter()
        self._overhead = self._steps * max(measured - usual, 0.0)

    def _step(self) -> int:
        assert self._optimizer is not None
        return int(keras.ops.convert_to_numpy(self._optimizer.iterations))

    def _loss_scale(self) -> float | None:
        """That of an optimizer for float16, which moves; else `None`."""
        scale = getattr(self._optimizer, "dynamic_scale", None)
        return None if scale is None else float(keras.ops.convert_to_numpy(scale))
