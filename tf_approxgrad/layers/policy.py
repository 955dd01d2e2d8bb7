"""`LayerPolicy`: a layer's schedule, index and step, which select its method."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from tf_approxgrad import _compat
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.input_gradient import input_gradient
from tf_approxgrad.gradients.inputs import GradientFunction, GradientInputs
from tf_approxgrad.gradients.kernel_choice import DENSE, ConvolutionSizes
from tf_approxgrad.gradients.method_choice import MethodChoice
from tf_approxgrad.gradients.observer import current_observer
from tf_approxgrad.gradients.replicas import (
    CallNumbers,
    draw_offset,
    replica_count,
    replica_id,
)
from tf_approxgrad.gradients.step_switch import column_at, switch_by_step
from tf_approxgrad.gradients.xla import context as xla
from tf_approxgrad.methods import (
    EXACT_METHODS,
    FullGradient,
    GradientMethod,
    ZeroGradient,
    are_full,
)
from tf_approxgrad.schedules import Schedule, periods


class StepCounter(Protocol):
    """A counter of training steps."""

    def __call__(self) -> tf.Tensor:
        """Reads the step, an integer scalar."""

    @property
    def variable(self) -> tf.Variable:
        """The variable that is read."""


@dataclasses.dataclass(eq=False)
class LayerPolicy:
    """A layer's schedule, index and step, which select its method.

    A plain object, so that neither Keras nor TensorFlow tracks the step counter as a
    weight of the layer.

    Attributes:
        layer_name: The layer's name, for messages.
        method: Method at every step if there is no schedule.
        schedule: Selects the method by (layer index, step).
        index: Layer index in the model, from 1; 0 if unknown.
        step: Counter of training steps; `None` until it is bound.
        stream: Number of the layer's random stream; 0 until the step is bound.
        count: Number of convertible layers in the model at its conversion; 0 if
            unknown.
        converted: Indices of the converted layers, including this one.
        left_out: Whether the gradient is exact whatever `method` is.
        restored: Whether the layer was made from its configuration, as from a file, and
            not converted since.
        input_method: Method of the input gradient wherever the filter gradient's isn't
            full, or isn't exact if this one approximates; `None` means exact.
        warned_of_xla: Method about which a warning said that XLA can't compile it.
        traced: Copy of this policy from the layer's last call in training.
        exact_calls: Number of calls, as they were traced, that a gradient tape recorded
            without `training=True`.
        training_calls: Number of those with it.
        approximate_passes: Number of backward passes by methods, as they were traced.
        trains_exactly: Whether the last training step that `fit` traced left the
            layer's gradients exact, whatever its methods; `None` before.
        choice: Choice among methods while training, which overrides the schedule.
        calls: Numbers of the calls in a step.
    """

    layer_name: str
    method: GradientMethod
    schedule: Schedule | None = None
    index: int = 0
    step: StepCounter | None = None
    stream: int = 0
    count: int = 0
    converted: tuple[int, ...] = ()
    left_out: bool = False
    restored: bool = False
    input_method: GradientMethod | None = None
    warned_of_xla: GradientMethod | None = None
    traced: LayerPolicy | None = None
    exact_calls: int = 0
    training_calls: int = 0
    approximate_passes: int = 0
    trains_exactly: bool | None = None
    choice: MethodChoice | None = None
    calls: CallNumbers = dataclasses.field(default_factory=CallNumbers)
    # Schedule and index, and their row: `Schedule.row` checks many steps.
    _cached: tuple[Any, tuple[GradientMethod, ...]] | None = None

    def row(self) -> tuple[GradientMethod, ...]:
        """The layer's methods in one period of each of the schedule's segments.

        Those of each replica in turn, where they differ.
        """
        if self.left_out:
            return (FullGradient(),)
        if self.choice is not None:
            return self.choice.methods
        if self.schedule is None:
            return (self.method,)
        key = (self.schedule, self.index)
        if self._cached is None or self._cached[0] != key:
            self._cached = (key, self.schedule.rows(self.index))
        return self._cached[1]

    def input_row(self) -> tuple[GradientMethod, ...]:
        """The methods of the input gradient, in the order of `row`."""
        method = self.input_method or FullGradient()
        return tuple(
            own
            if isinstance(own, FullGradient)
            or (isinstance(own, EXACT_METHODS) and not method.is_exact)
            else method
            for own in self.row()
        )

    def is_full(self) -> bool:
        """Whether the method is always full, and no gradient is observed."""
        return current_observer() is None and are_full(self.row())

    def approximates(self) -> bool:
        """Whether the filter gradient isn't exact, to rounding, at some step."""
        return not all(method.is_exact for method in self.row())

    def is_dense(self, sizes: ConvolutionSizes | None = None) -> bool:
        """Whether TensorFlow's ops compute both gradients, always.

        Args:
            sizes: Sizes of the convolution; `None` if it has no exact kernel but
                TensorFlow's.
        """
        if current_observer() is not None:
            return False
        gradients = [(method, False) for method in self.row()]
        gradients += [(method, True) for method in self.input_row()]
        return all(
            isinstance(method, EXACT_METHODS)
            and (sizes is None or sizes.kernel_of(method, of_input) == DENSE)
            for method, of_input in gradients
        )

    def makes_input_gradient(self) -> bool:
        """Whether the input gradient is approximated at some step, or observed."""
        return current_observer() is not None or not are_full(self.input_row())

    def needs_step(self) -> bool:
        """Whether the gradients depend on the step."""
        row = self.row()
        methods = {*row, *self.input_row()}
        return len(set(row)) > 1 or any(method.needs_step for method in methods)

    def assign(
        self, schedule: Schedule, index: int, row: tuple[GradientMethod, ...]
    ) -> None:
        """Sets the schedule, the index and the row of that index."""
        self.schedule, self.index, self.choice = schedule, index, None
        self._cached = ((schedule, index), row)

    def note_call(self, training: bool | None) -> None:
        """Counts a call of the layer, and keeps the policy of a call in training."""
        if _compat.recording_is_possible():
            self.training_calls += bool(training)
            self.exact_calls += not training
        if training:
            self.traced = copy.copy(self)
            self.traced.traced = None

    def was_exact(self, calls: int = 0, passes: int = 0) -> bool:
        """Whether traced gradients were exact although the row approximates.

        So they are if `training` isn't true in the layer's calls, or if its filters get
        no gradient.

        Args:
            calls: Number of traced calls to leave out, the first ones.
            passes: Number of traced passes to leave out.
        """
        was_called = self.exact_calls + self.training_calls > calls
        return was_called and self.approximate_passes == passes and self.approximates()

    def read(self) -> dict[str, tf.Tensor]:
        """Tensors of `GradientInputs`, where the layer is called."""
        found = {}
        replica = replica_id()
        if self.step is not None and self.needs_step():
            found["step"] = self.step()
            offset = draw_offset(self.calls.number(replica), replica)
            if offset is not None:
                found["draw_offset"] = offset
        if self.choice is not None:
            found["choice"] = self.choice.read()
        if self.schedule is not None and self.schedule.replicas > 1:
            found["replica"] = tf.convert_to_tensor(replica)
        return found

    def graph_key(self) -> tuple[Any, ...]:
        """The values for which a trace of the layer is valid."""
        methods: tuple[Any, ...] = tuple(set(self.row()))
        if self.choice is not None:
            methods = (self.choice,)
        elif self.schedule is not None and len(methods) > 1:
            methods = (
                *(self.row(), periods.segments_of(self.schedule)),
                *(self.schedule.replicas, self.schedule.mean_over),
            )
        drawn_by = (self.stream or self.index, self.step)
        return methods, self.input_method, drawn_by if self.needs_step() else None

    def method_without_xla(self) -> GradientMethod | None:
        """The layer's first method that XLA can't compile, if there is one."""
        methods = dict.fromkeys((*self.row(), *self.input_row()))
        return next((method for method in methods if not method.supports_jit), None)

    def method_at(self, step: int) -> GradientMethod:
        """The method at a step, on the first replica."""
        row = self.row()
        if self.choice is not None:
            return self.choice.method
        return row[0 if self.schedule is None else self.schedule.column(step)]

    def step_variable(self) -> tf.Variable | None:
        """The variable of the step; `None` if none is bound or needed."""
        if self.step is None or not self.needs_step():
            return None
        return self.step.variable

    def count_approximated(self, steps: int) -> float:
        """Number of the first `steps` steps at which the gradient isn't exact.

        The mean over replicas, where they differ.
        """
        if self.trains_exactly:
            return 0
        if self.choice is not None:
            return self.choice.count_approximated(steps)
        flags = [not method.is_exact for method in self.row()]
        if self.schedule is None:
            return steps * flags[0]
        pieces, replicas = periods.segments_of(self.schedule), self.schedule.replicas
        size = len(flags) // replicas
        rows = [flags[start : start + size] for start in range(0, len(flags), size)]
        return sum(periods.count(row, pieces, steps) for row in rows) / replicas

    def filter_gradient(
        self, inputs: GradientInputs, compute: GradientFunction = filter_gradient
    ) -> tf.Tensor:
        """Computes the filter gradient by the method of the current step.

        A constant method is computed directly. Otherwise the step selects one branch of
        a `tf.switch_case`, and only that branch runs.

        Args:
            inputs: Inputs of the gradient.
            compute: Computes the gradient by one method.

        Returns:
            The gradient.

        Raises:
            RuntimeError: If the step is needed and not bound.
        """
        observer = current_observer()
        if observer is not None and observer.intercepts(self):
            return observer.filter_gradient(self, self.placed(inputs), compute)
        self._check_step(inputs)
        self.approximate_passes += 1
        self.calls.end(replica_id())
        if self.choice is not None:
            return self.choice.filter_gradient(self.placed(inputs), compute)
        gradient = self._of_current_step(self.row(), inputs, compute)
        factors = self._factors()
        if factors is None:
            return gradient
        assert self.schedule is not None
        factor = tf.gather(factors, column_at(self.schedule, inputs))
        return gradient * tf.cast(factor, gradient.dtype)

    def _factors(self) -> tf.Tensor | None:
        """By column, what makes a mean over replicas one over those that compute."""
        replicas = replica_count()
        if self.schedule is None or self.schedule.mean_over == "all" or replicas == 1:
            return None
        size = len(self.row()) // self.schedule.replicas
        zero = [isinstance(method, ZeroGradient) for method in self.row()]
        computing = [
            sum(
                not zero[replica % self.schedule.replicas * size + column]
                for replica in range(replicas)
            )
            for column in range(size)
        ]
        if set(computing) <= {0, replicas}:
            return None
        return tf.constant([replicas / max(1, n) for n in computing], tf.float64)

    def input_gradient(
        self, inputs: GradientInputs, compute: GradientFunction = input_gradient
    ) -> tf.Tensor:
        """Computes the input gradient, as `filter_gradient` the filter gradient."""
        observer = current_observer()
        if observer is not None and observer.intercepts(self):
            return observer.input_gradient(self, self.placed(inputs), compute)
        self._check_step(inputs)
        row = self.input_row()
        gradient = self._of_current_step(row, inputs, compute)
        # It is an input of earlier layers' switches.
        is_switched = len(set(row)) > 1
        return xla.opaque(gradient) if is_switched and xla.is_compiling() else gradient

    def _check_step(self, inputs: GradientInputs) -> None:
        if inputs.step is not None or not self.needs_step():
            return
        follows = repr(self.schedule or self.method)
        if self.input_method is not None:
            follows += f" with input_gradient={self.input_method!r}"
        raise RuntimeError(
            f"layer {self.layer_name!r} follows {follows}, "
            "which depends on the training step, and no step is bound: "
            "pass callbacks=[tf_approxgrad.ApproximationCallback()] to fit, or "
            "call tf_approxgrad.bind_step(model, optimizer) before the training step "
            "is traced."
        )

    def _of_current_step(
        self,
        row: Sequence[GradientMethod],
        inputs: GradientInputs,
        compute: GradientFunction,
    ) -> tf.Tensor:
        unsupported = self.method_without_xla() if xla.is_compiling() else None
        if unsupported is not None:
            raise RuntimeError(
                f"layer {self.layer_name!r} uses {unsupported!r}, which XLA can't "
                "compile: train without XLA (jit_compile=False). Keras does so by "
                "itself if the model is compiled after its conversion."
            )
        inputs = self.placed(inputs)
        methods = list(dict.fromkeys(row))
        if len(methods) == 1:
            return compute(methods[0], inputs)
        assert self.schedule is not None
        return switch_by_step(row, self.schedule, inputs, compute)

    def placed(self, inputs: GradientInputs) -> GradientInputs:
        """Inputs of a gradient, completed by the layer's index and stream."""
        return dataclasses.replace(
            inputs, layer=self.index, stream=self.stream or self.index
        )


def share_approximated(policies: Sequence[LayerPolicy], steps: int) -> float:
    """The share of approximated (layer, step) cells in the first `steps` steps."""
    cells = sum(policy.count_approximated(steps) for policy in policies)
    return cells / max(1, len(policies) * steps)
