"""What a method keeps of dY, told alike to the ops of both gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_approxgrad import xla
from tf_approxgrad.backprop import Backprop, required_step
from tf_approxgrad.methods import MaxGradient, RowSampledGradient, SampledGradient
from tf_approxgrad.position_sampling import sampled_weights
from tf_approxgrad.row_sampling import rows_to_draw


def kept_weights(
    method: MaxGradient | SampledGradient, backprop: Backprop
) -> Callable[[tf.Tensor], tf.Tensor]:
    """What makes the positions' weights of channels, one a row, in TensorFlow's ops."""
    if isinstance(method, MaxGradient):
        return lambda rows: xla.max_weights(rows, method.k)
    step = required_step(method, backprop)
    return lambda rows: sampled_weights(
        rows, method.k, step, method.seed, backprop.stream
    )


def kept_inputs(
    method: MaxGradient | SampledGradient, backprop: Backprop
) -> dict[str, Any]:
    """What the ops that keep positions are told of them."""
    if isinstance(method, MaxGradient):
        return xla.kept_attributes(method.k)
    return xla.kept_attributes(method.k) | _stream_inputs(method, backprop)


def drawn_row_inputs(method: RowSampledGradient, backprop: Backprop) -> dict[str, Any]:
    """What the ops that draw rows are told of the draw."""
    return {
        "draws": rows_to_draw(method.share, backprop.out_backprop, backprop.arguments),
        "probability": method.probability,
        "keep_largest": method.keep_largest,
        **_stream_inputs(method, backprop),
    }


def _stream_inputs(
    method: SampledGradient | RowSampledGradient, backprop: Backprop
) -> dict[str, Any]:
    return {
        "step": tf.cast(required_step(method, backprop), tf.int64),
        "seed": method.seed,
        "layer": backprop.stream,
    }
