"""A choice among methods that moves while training, without a new trace."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import tensorflow as tf

from tf_approxgrad.gradients.extra_variance import (
    extra_variances,
    extra_variances_in_turns,
    square_sum,
)
from tf_approxgrad.gradients.inputs import GradientFunction, GradientInputs
from tf_approxgrad.gradients.observer import RecordedCall
from tf_approxgrad.gradients.step_switch import branch_function
from tf_approxgrad.gradients.xla import context as xla
from tf_approxgrad.methods import ExactGradient, GradientMethod, by_share


@dataclasses.dataclass(frozen=True)
class ChoiceVariances:
    """Variances of a layer's filter gradient over some training steps.

    Attributes:
        passes: Number of backward passes.
        batch_size: Examples of the largest one.
        minibatch: E|g_B - g|^2 of the exact minibatch gradient, from the differences of
            successive passes.
        extra: E|a - g_B|^2 of each method.
    """

    passes: int
    batch_size: int
    minibatch: float
    extra: Mapping[GradientMethod, float]


class MethodChoice:
    """A layer's filter gradient by one of several methods, whose number is a variable.

    At steps at which variances are measured, the gradient is exact.

    Args:
        methods: The methods; the first is `ExactGradient()`.
        filters: Shape of the filters.
    """

    # In `_sums`, behind passes, most examples, and the sum of |difference|^2 / 2: sums
    # of V for each method, then their numbers of terms.
    _FIRST_EXTRA = 3

    def __init__(
        self, methods: Sequence[GradientMethod], filters: Sequence[int]
    ) -> None:
        self.methods = tuple(methods)
        self._number = tf.Variable(0, dtype=tf.int32, trainable=False)
        # The exact gradient of the last measured pass.
        self._last = tf.Variable(tf.zeros(filters), trainable=False)
        size = self._FIRST_EXTRA + 2 * len(self.methods)
        self._sums = tf.Variable(tf.zeros([size], tf.float64), trainable=False)
        self._approximated = self._since = 0

    @property
    def method(self) -> GradientMethod:
        """The chosen method; the exact one while variances are measured."""
        number = int(self._number)
        return self.methods[number if number < len(self.methods) else 0]

    def choose(self, method: GradientMethod, step: int) -> None:
        """Chooses one of the methods, from a training step on."""
        self._move(self.methods.index(method), step)

    def measure(self, step: int) -> None:
        """Measures variances from a training step on, until a method is chosen."""
        self._sums.assign(tf.zeros_like(self._sums))
        self._move(len(self.methods), step)

    def _move(self, number: int, step: int) -> None:
        self._approximated = self.count_approximated(step)
        self._since = step
        self._number.assign(number)

    def count_approximated(self, step: int) -> int:
        """Number of training steps before `step` at which the method wasn't exact."""
        since = max(step - self._since, 0) * (not self.method.is_exact)
        return self._approximated + since

    def read(self) -> tf.Tensor:
        """The number of the method, to be read in the forward pass."""
        return tf.convert_to_tensor(self._number)

    @property
    def passes(self) -> int:
        """Number of passes since `measure`."""
        return int(self._sums[0])

    def variances(self) -> ChoiceVariances:
        """What was measured since `measure`, in at least two passes."""
        passes, batch_size, differences, *others = map(float, self._sums.numpy())
        extra, counts = others[: len(self.methods)], others[len(self.methods) :]
        return ChoiceVariances(
            int(passes),
            int(batch_size),
            differences / (passes - 1),
            {
                method: total / count if count else math.nan
                for method, total, count in zip(
                    self.methods, extra, counts, strict=True
                )
            },
        )

    def filter_gradient(
        self, inputs: GradientInputs, compute: GradientFunction
    ) -> tf.Tensor:
        """The gradient by the chosen method."""
        assert inputs.choice is not None
        families = [[method] for method in self.methods]
        if not xla.is_compiling():
            # The least share stands for all: a share of 1 is computed by another op.
            families = by_share(self.methods)
            shares = [getattr(method, "share", 1.0) for method in self.methods]
            share = tf.gather(tf.constant([*shares, 1.0], tf.float64), inputs.choice)
            inputs = dataclasses.replace(inputs, share=share)
        branches = [branch_function(compute, family[0], inputs) for family in families]
        measured = functools.partial(self._measured, compute)
        branches.append(branch_function(measured, ExactGradient(), inputs))
        branch_of = {m: n for n, family in enumerate(families) for m in family}
        numbers = [*(branch_of[method] for method in self.methods), len(families)]
        return tf.switch_case(
            tf.gather(tf.constant(numbers, tf.int32), inputs.choice), branches
        )

    def _measured(
        self, compute: GradientFunction, method: GradientMethod, inputs: GradientInputs
    ) -> tf.Tensor:
        """The exact gradient, whose variances are added to the sums."""
        gradient = compute(method, inputs)
        inputs = dataclasses.replace(inputs, share=None)
        approximate = [method for method in self.methods if not method.is_exact]
        calls = [RecordedCall(inputs, compute)]
        step = tf.zeros([], tf.int64) if inputs.step is None else inputs.step
        if xla.is_compiling():
            # A share can't be a tensor there.
            extra = extra_variances(calls, approximate, step)
            counts = tf.ones_like(extra)
        else:
            turn = tf.cast(self._sums[0], tf.int32)
            extra, counts = extra_variances_in_turns(
                calls, approximate, step, turn, gradient
            )
        exact = tf.zeros([len(self.methods) - len(approximate)], tf.float64)
        found = tf.concat([exact, extra, exact + 1, counts], 0)
        batch = tf.maximum(
            tf.cast(tf.shape(inputs.input)[0], tf.float64), self._sums[1]
        )
        as_float = tf.cast(gradient, tf.float32)
        difference = square_sum(as_float - self._last) / 2
        had_pass = tf.cast(self._sums[0] > 0, tf.float64)
        passes = self._sums[0] + 1
        of_gradient = [passes, batch, self._sums[2] + had_pass * difference]
        of_methods = self._sums[self._FIRST_EXTRA :] + found
        self._sums.assign(tf.concat([tf.stack(of_gradient), of_methods], 0))
        self._last.assign(as_float)
        return gradient
