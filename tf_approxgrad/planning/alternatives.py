"""What a user could do instead of following a plan, as training steps to time."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tf_approxgrad.conversion.traversal import convertible_layers
from tf_approxgrad.planning.minibatches import Minibatch, part_of, size_of
from tf_approxgrad.planning.training_step import Step, training_step
from tf_approxgrad.utils.machine import cpu_flags

HALF, BFLOAT16 = "half the batch", "mixed_bfloat16"


def alternative_steps(
    model: keras.Model,
    plain: Step,
    compute_loss: Callable[..., tf.Tensor] | None,
    batch: Minibatch,
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """The steps of the alternatives, by name.

    Args:
        model: A built model.
        plain: Its step by TensorFlow's ops.
        compute_loss: Called like the model's `compute_loss`, which is the default.
        batch: A minibatch.

    Returns:
        The steps, and the reasons why others have none.
    """
    steps: dict[str, Callable[[], object]] = {}
    reasons = {}
    half = part_of(batch, size_of(batch) // 2)
    if size_of(half) == 0:
        reasons[HALF] = "a batch of one has no half"
    else:
        try:
            plain(half)
            steps[HALF] = lambda: plain(half)
        except (tf.errors.OpError, TypeError, ValueError):
            reasons[HALF] = "the model takes one batch size only"
    reason = _why_not_bfloat16(model)
    if reason is None:
        try:
            clone = _in_bfloat16(model)
            layers = dict(enumerate(convertible_layers(clone), start=1))
            step = training_step(clone, layers, None, compute_loss, batch)
            step(batch)
            steps[BFLOAT16] = lambda: step(batch)
        # A clone may fail in the user's own layers, in any way.
        except Exception as error:
            text = str(error).strip() or type(error).__name__
            reason = f"the model has no such copy: {text.splitlines()[0]}"
    if reason is not None:
        reasons[BFLOAT16] = reason
    return steps, reasons


def _why_not_bfloat16(model: keras.Model) -> str | None:
    if any(layer.compute_dtype != layer.variable_dtype for layer in model.layers):
        return "the model computes in mixed precision already"
    if tf.config.list_logical_devices("GPU"):
        return None
    if not cpu_flags() & {"avx512_bf16", "amx_bf16"}:
        return "the processor has no bfloat16 arithmetic"
    return None


def _in_bfloat16(model: keras.Model) -> keras.Model:
    """A copy of a model that computes in bfloat16, with other weights."""

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if "dtype" in config:
            config["dtype"] = BFLOAT16
        return type(layer).from_config(config)

    clone = keras.models.clone_model(model, clone_function=copied, recursive=True)
    if model.compiled:
        clone.compile_from_config(model.get_compile_config())
    return clone
