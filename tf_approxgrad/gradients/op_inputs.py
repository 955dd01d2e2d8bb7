"""Inputs and attributes shared by the compiled ops of both gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.inputs import GradientInputs, drawing_step
from tf_approxgrad.methods import MaxGradient, RowSampledGradient, SampledGradient


def position_inputs(
    method: MaxGradient | SampledGradient, inputs: GradientInputs
) -> dict[str, Any]:
    """Arguments of the ops that keep positions."""
    if isinstance(method, MaxGradient):
        return _count_attributes(method.k)
    return _count_attributes(method.k) | _stream_inputs(method, inputs)


def row_inputs(method: RowSampledGradient, inputs: GradientInputs) -> dict[str, Any]:
    """Arguments of the ops that draw rows."""
    share = method.share if inputs.share is None else inputs.share
    return {
        "draws": rows_to_draw(share, inputs.out_backprop, inputs.arguments),
        "probability": method.probability,
        "keep_largest": method.keep_largest,
        **_stream_inputs(method, inputs),
    }


def share_attribute(share: float) -> float:
    """A share of the positions, in (0, 1), as the ops' float32 attribute."""
    return float(np.clip(np.float32(share), np.float32(1e-30), 1 - np.float32(2**-24)))


def _count_attributes(k: int | float) -> dict[str, Any]:
    """A method's k as the ops' attributes."""
    if isinstance(k, float):
        return {"k": 1, "k_share": share_attribute(k)}
    return {"k": k, "k_share": 0.0}


def rows_to_draw(
    share: float | tf.Tensor,
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
    tile: int = 1,
) -> tf.Tensor:
    """M = max(1, floor(share * N*Ho*Wo)), an int64 scalar; constant if possible.

    With `tile`, squares of so many rows are drawn, and less at the ends of a map.
    """
    shape = out_backprop.shape
    axes = [axis for axis in range(4) if axis != arguments.channel_axis]
    sizes: Any = None if shape.rank is None else [shape[axis] for axis in axes]
    if sizes is None or None in sizes:
        sizes = tf.unstack(tf.gather(tf.shape(out_backprop, tf.int64), axes))
    examples, rows, cols = sizes
    return number_to_draw(share, examples * -(-rows // tile) * -(-cols // tile))


def number_to_draw(share: float | tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """max(1, floor(share * count)), an int64 scalar; constant if possible."""
    if isinstance(share, float) and isinstance(count, int):
        return tf.constant(max(1, math.floor(share * count)), tf.int64)
    number = tf.floor(share * tf.cast(count, tf.float64))
    return tf.maximum(tf.cast(number, tf.int64), 1)


def _stream_inputs(
    method: SampledGradient | RowSampledGradient, inputs: GradientInputs
) -> dict[str, Any]:
    return {
        "step": drawing_step(method, inputs),
        "seed": method.seed,
        "layer": inputs.stream,
    }
