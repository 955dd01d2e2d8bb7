"""How near an approximate filter gradient is to the exact one, on the same batch."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tf_approxgrad.backprop import Backprop
from tf_approxgrad.methods import FullGradient, GradientMethod

if TYPE_CHECKING:
    from tf_approxgrad.assignment import Assignment

MEASURES = ("cosine", "relative_error", "norm_ratio")


class Comparison:
    """Filter gradients of the layers of a model, exact and by other methods.

    A layer that is called more than once has the sum of its calls' gradients.
    """

    def __init__(self) -> None:
        self._gradients: dict[tuple[int, GradientMethod], tf.Tensor] = {}

    def compare(
        self,
        assignment: Assignment,
        backprop: Backprop,
        compute: Callable[[GradientMethod, Backprop], tf.Tensor],
    ) -> tf.Tensor:
        """Computes the gradient by each method of the layer; returns the exact one."""
        backprop = assignment.placed(backprop)
        exact = FullGradient()
        for method in dict.fromkeys([exact, *assignment.row()]):
            key = (id(assignment), method)
            gradient = compute(method, backprop)
            before = self._gradients.get(key, tf.zeros_like(gradient))
            self._gradients[key] = before + gradient
        return self._gradients[id(assignment), exact]

    def measures(self, assignment: Assignment) -> dict[GradientMethod, tf.Tensor]:
        """For each approximate method of a layer, the values of `MEASURES`.

        Returns:
          Float64 vectors: the cosine of the angle between approximation a and exact
          gradient g, |a - g| / |g|, and |a| / |g|; where a norm is zero, a ratio to it
          counts as zero. None for a layer through which no gradient came.
        """
        exact = self._gradients.get((id(assignment), FullGradient()))
        if exact is None:
            return {}
        return {
            method: measures(gradient, exact)
            for (owner, method), gradient in self._gradients.items()
            if owner == id(assignment) and method != FullGradient()
        }


def measures(approximate: tf.Tensor, exact: tf.Tensor) -> tf.Tensor:
    """The values of `MEASURES` for two gradients, as `Comparison.measures` has them."""
    approximate, exact = (tf.cast(x, tf.float64) for x in (approximate, exact))
    norm, exact_norm = tf.norm(approximate), tf.norm(exact)
    product = tf.reduce_sum(approximate * exact)
    values = [
        tf.math.divide_no_nan(product, norm * exact_norm),
        tf.math.divide_no_nan(tf.norm(approximate - exact), exact_norm),
        tf.math.divide_no_nan(norm, exact_norm),
    ]
    return tf.stack(values)


_current: contextvars.ContextVar[Comparison | None] = contextvars.ContextVar(
    "tf_approxgrad_comparison", default=None
)


def current_comparison() -> Comparison | None:
    """The comparison for which the backward pass runs, or `None` in training."""
    return _current.get()


@contextlib.contextmanager
def comparing() -> Iterator[Comparison]:
    """Makes every layer compute its gradient by all its methods."""
    comparison = Comparison()
    token = _current.set(comparison)
    try:
        yield comparison
    finally:
        _current.reset(token)


def backpropagate(
    model: keras.Model,
    x: Any,
    y: Any,
    sample_weight: Any,
    compute_loss: Callable[..., tf.Tensor] | None = None,
) -> None:
    """Runs the forward and the backward pass of a training step, and no update.

    Args:
      model: A built model.
      x, y, sample_weight: A batch of tensors.
      compute_loss: Called as the model's own `compute_loss`, which is the default.
    """
    forward_pass(model, x, y, sample_weight, compute_loss)()


def forward_pass(
    model: keras.Model,
    x: Any,
    y: Any,
    sample_weight: Any,
    compute_loss: Callable[..., tf.Tensor] | None = None,
    persistent: bool = False,
) -> Callable[[], None]:
    """Runs the forward pass of a training step and returns its backward pass.

    Args:
      model, x, y, sample_weight, compute_loss: As for `backpropagate`.
      persistent: Whether the backward pass may run more than once.
    """
    weights = [weight.value for weight in model.trainable_weights]
    with tf.GradientTape(persistent=persistent) as tape:
        outputs = model(x, training=True)
        loss = (compute_loss or model.compute_loss)(
            x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True
        )
        if getattr(model, "optimizer", None) is not None:
            # In half precision small gradients would vanish.
            loss = model.optimizer.scale_loss(loss)

    def backward_pass() -> None:
        tape.gradient(loss, weights)

    return backward_pass


def loss_function(model: keras.Model, loss: Any) -> Callable[..., tf.Tensor] | None:
    """What to pass to `backpropagate` for a loss as `compile` takes it.

    Raises:
      ValueError: If it is `None` and the model isn't compiled, or if it is no loss.
    """
    if loss is None:
        if not model.compiled:
            raise ValueError(
                f"loss=None, but model {model.name!r} isn't compiled: pass loss=..., "
                "as to compile, or compile the model."
            )
        return None
    for part in keras.tree.flatten(loss):
        try:
            keras.losses.get(part)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"loss={loss!r} must be a loss as compile takes it: {error}"
            ) from error
    # A model of no layers, so that Keras matches losses with outputs as it always does.
    owner = keras.Model(name="loss_of_fidelity")
    owner.output_names = getattr(model, "output_names", None)
    owner.compile(optimizer=None, loss=loss, jit_compile=False)

    def compute_loss(**arguments: Any) -> tf.Tensor:
        # Those that the model adds itself, as of its activities.
        total = owner.compute_loss(**arguments)
        return tf.add_n([total, *(tf.cast(x, total.dtype) for x in model.losses)])

    return compute_loss


@contextlib.contextmanager
def kept_state(model: keras.Model) -> Iterator[None]:
    """Puts back what a forward pass in training changes.

    That is the statistics of normalisation, the states of seed generators, and
    metrics, those also that the first loss makes.
    """
    variables = [*model.non_trainable_variables, *model.metrics_variables]
    before = [tf.identity(variable) for variable in variables]
    known = {id(variable) for variable in variables}
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        for metric in model.metrics:
            if not any(id(variable) in known for variable in metric.variables):
                metric.reset_state()
