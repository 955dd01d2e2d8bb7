"""The forward and backward pass of a training step, without the update."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf


def backpropagate(
    model: keras.Model,
    x: Any,
    y: Any,
    sample_weight: Any,
    compute_loss: Callable[..., tf.Tensor] | None = None,
) -> list[Any]:
    """Runs the forward and the backward pass of a training step, without the update.

    Args:
        model: A built model.
        x, y, sample_weight: A batch of tensors.
        compute_loss: Called like the model's `compute_loss`, which is the default.

    Returns:
        The gradients of the trainable weights; `None` for those without one.
    """
    return forward_pass(model, x, y, sample_weight, compute_loss)()


def forward_pass(
    model: keras.Model,
    x: Any,
    y: Any,
    sample_weight: Any,
    compute_loss: Callable[..., tf.Tensor] | None = None,
    persistent: bool = False,
) -> Callable[[], list[Any]]:
    """Runs the forward pass of a training step and returns its backward pass.

    Args:
        model, x, y, sample_weight, compute_loss: As for `backpropagate`.
        persistent: Whether the backward pass may run more than once.

    Returns:
        A function that runs the backward pass, and returns the gradients of the
        trainable weights.
    """
    weights = [weight.value for weight in model.trainable_weights]
    with tf.GradientTape(persistent=persistent) as tape:
        outputs = model(x, training=True)
        loss = (compute_loss or model.compute_loss)(
            x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True
        )
        if getattr(model, "optimizer", None) is not None:
            # Without it, small gradients vanish in half precision.
            loss = model.optimizer.scale_loss(loss)

    def backward_pass() -> list[Any]:
        return tape.gradient(loss, weights)

    return backward_pass


def loss_function(model: keras.Model, loss: Any) -> Callable[..., tf.Tensor] | None:
    """The argument `compute_loss` of `backpropagate` for a loss as of `compile`.

    Args:
        model: A built model.
        loss: A loss as for `compile`; `None` means that of the compiled model.

    Raises:
        ValueError: If `loss` is `None` and the model isn't compiled, or isn't a loss.
    """
    if loss is None:
        if not model.compiled:
            raise ValueError(
                f"loss=None, but model {model.name!r} isn't compiled: pass loss=..., "
                "as for compile, or compile the model."
            )
        return None
    for part in keras.tree.flatten(loss):
        try:
            keras.losses.get(part)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"loss={loss!r} must be a loss as compile takes it: {error}"
            ) from error
    # A model without layers, so that Keras matches losses with outputs as in `fit`.
    owner = keras.Model(name="loss_of_backward_pass")
    owner.output_names = getattr(model, "output_names", None)
    owner.compile(optimizer=None, loss=loss, jit_compile=False)

    def compute_loss(**arguments: Any) -> tf.Tensor:
        # Losses that the model adds, such as activity regularisation.
        total = owner.compute_loss(**arguments)
        return tf.add_n([total, *(tf.cast(x, total.dtype) for x in model.losses)])

    return compute_loss


@contextlib.contextmanager
def preserved_state(model: keras.Model) -> Iterator[None]:
    """Restores the state that a forward pass in training changes.

    That is statistics of normalisation, states of seed generators, and metrics,
    including metrics that the first loss creates.
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
