"""Layers of the paper's networks, from checked arguments."""

from __future__ import annotations

import numbers
import sys
from typing import Any

import keras
import numpy as np

from tf_approxgrad.utils.checks import check_finite, check_integer

_DATA_FORMATS = ("channels_last", "channels_first")


class LayerFactory:
    """Builds a network's layers with one layout, initialisation and regularisation.

    All arguments are checked here, before any layer is built.

    Args:
        input_shape: Height, width and channels in the order of `data_format`, or `None`
            for 32x32 images of 3 channels.
        classes: Number of logits, at least 2.
        width: Factor on the number of channels and units of every hidden layer.
        weight_decay: Factor on the sum of squares of every kernel in the loss.
        batch_norm_momentum: Momentum of the moving averages, 0 <= momentum < 1.
        seed: Integer of at least 0 from which each kernel's own seed is derived, or
            `None` for Keras' global generator.
        data_format: `"channels_last"`, `"channels_first"`, or `None` for
            `keras.config.image_data_format()`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument has a value that isn't allowed.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int] | None,
        classes: int,
        width: float,
        weight_decay: float,
        batch_norm_momentum: float,
        seed: int | None,
        data_format: str | None,
    ) -> None:
        if data_format is None:
            data_format = keras.config.image_data_format()
        if data_format not in _DATA_FORMATS:
            raise ValueError(
                f"data_format={data_format!r} must be one of {_DATA_FORMATS}, or None."
            )
        self.data_format = data_format
        self.channels_first = data_format == "channels_first"
        if input_shape is None:
            input_shape = (3, 32, 32) if self.channels_first else (32, 32, 3)
        self._input_shape = _check_input_shape(input_shape, self.channels_first)
        self._classes = check_integer("classes", classes, 2)
        tiny = sys.float_info.min
        self._width = check_finite("width", width, "a finite number > 0", low=tiny)
        self._weight_decay = check_finite(
            "weight_decay", weight_decay, "a finite number >= 0", low=0.0
        )
        allowed = "a number >= 0 and < 1"
        self._momentum = check_finite(
            "batch_norm_momentum", batch_norm_momentum, allowed, low=0.0
        )
        if self._momentum >= 1:
            raise ValueError(
                f"batch_norm_momentum must be {allowed}, got {batch_norm_momentum!r}"
            )
        if seed is not None:
            check_integer("seed", seed, 0)
        self._seed = seed
        self._kernels_made = 0

    def scaled(self, size: int) -> int:
        """Channels or units of a hidden layer, after the width factor; at least 1."""
        return max(1, round(size * self._width))

    def input(self) -> Any:
        return keras.Input(self._input_shape, name="input")

    def conv(self, filters: int, kernel_size: int, **kwargs: Any) -> keras.layers.Layer:
        """A convolution of padding "same"."""
        return keras.layers.Conv2D(
            self.scaled(filters),
            kernel_size,
            padding="same",
            data_format=self.data_format,
            **self._for_kernel(),
            **kwargs,
        )

    def batch_norm(self, name: str) -> keras.layers.Layer:
        return keras.layers.BatchNormalization(
            axis=1 if self.channels_first else -1, momentum=self._momentum, name=name
        )

    def max_pool(self, pool_size: int, name: str) -> keras.layers.Layer:
        """Max pooling of stride 2, which rounds odd sizes up."""
        return keras.layers.MaxPooling2D(
            pool_size, 2, padding="same", data_format=self.data_format, name=name
        )

    def flatten(self) -> keras.layers.Layer:
        return keras.layers.Flatten(data_format=self.data_format, name="flatten")

    def dense(self, units: int, name: str) -> keras.layers.Layer:
        return keras.layers.Dense(
            self.scaled(units), activation="relu", name=name, **self._for_kernel()
        )

    def logits(self) -> keras.layers.Layer:
        """The last layer, which computes in the variables' dtype.

        Under mixed precision that is float32, as the loss needs.
        """
        return keras.layers.Dense(
            self._classes,
            dtype=keras.config.dtype_policy().variable_dtype,
            name="logits",
            **self._for_kernel(),
        )

    def _for_kernel(self) -> dict[str, Any]:
        """The next kernel's initialiser and regulariser."""
        seed = None
        if self._seed is not None:
            # Spawned: with seed + 1, seed + 2, ..., models of neighbouring seeds would
            # share most of their kernels.
            sequence = np.random.SeedSequence(
                self._seed, spawn_key=(self._kernels_made,)
            )
            seed = int(sequence.generate_state(1)[0]) >> 1  # Fits a signed integer.
        self._kernels_made += 1
        decay = self._weight_decay
        return {
            "kernel_initializer": keras.initializers.HeNormal(seed=seed),
            "kernel_regularizer": keras.regularizers.L2(decay) if decay else None,
        }


def _check_input_shape(value: Any, channels_first: bool) -> tuple[int, ...]:
    axes = "channels, height, width" if channels_first else "height, width, channels"
    allowed = (
        f"input_shape={value!r} must be 3 integers of at least 1: ({axes}), without "
        "the batch."
    )
    if not isinstance(value, (tuple, list)):
        raise TypeError(allowed)
    integers = [
        int(size)
        for size in value
        if isinstance(size, numbers.Integral) and not isinstance(size, bool)
    ]
    if len(value) != 3 or len(integers) != 3 or min(integers) < 1:
        raise ValueError(allowed)
    return tuple(integers)
