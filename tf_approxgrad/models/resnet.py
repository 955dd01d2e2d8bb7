"""Residual networks for CIFAR-10, with shortcuts that have no parameters."""

from __future__ import annotations

from typing import Any

import keras

from tf_approxgrad.models.factory import LayerFactory
from tf_approxgrad.utils.checks import check_integer

_STAGE_CHANNELS = (16, 32, 64)


def resnet(
    depth: int = 20,
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 10,
    *,
    width: float = 1.0,
    weight_decay: float = 0.0,
    batch_norm_momentum: float = 0.9,
    seed: int | None = None,
    data_format: str | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds the CIFAR-10 residual network of He et al. with `depth` layers.

    A 3x3 convolution (`conv1`), then three stages of n = (depth - 2) / 6 blocks of two
    3x3 convolutions (`stage2_block1_conv1`, ...) with 16, 32 and 64 channels, global
    average pooling and one dense layer. Shortcuts are the identity; where a stage
    halves the image, they take every second row and column and fill the new channels
    with zeros (option A). So all `depth - 1` convolutions are on the main path.
    Source: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition,
    CVPR 2016, section 4.2.

    Args:
        depth: Convolutions plus the dense layer: 6n + 2 with n >= 1, such as 14 or 20.
        input_shape: Height, width and channels, in the order of `data_format` and
            without the batch. `None` means CIFAR-10's, `(32, 32, 3)`.
        classes: Number of classes, at least 2.
        width: Factor on the number of channels of every convolution.
        weight_decay: Factor on the sum of squares of every kernel in the loss
            (`keras.regularizers.L2`). He et al.'s decay of 1e-4 is 5e-5 here, as theirs
            is the factor on the weights in the gradient.
        batch_norm_momentum: Momentum of the moving averages of batch normalisation.
            Keras' default, 0.99, lags behind in runs of a few hundred steps.
        seed: Seed of the initial weights (He normal, one stream for each kernel), an
            integer >= 0; `None` means Keras' global seed.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        name: The model's name, or `None` for `"resnet<depth>"`.

    Returns:
        A functional model from images `[N, *input_shape]` to logits `[N, classes]`. The
        logits are float32 under Keras' mixed precision policies.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `depth` isn't 6n + 2, or another argument isn't allowed.

    Example:

    >>> import keras
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.resnet(depth=14, input_shape=(28, 28, 1))
    >>> model.output_shape
    (None, 10)
    >>> sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers)
    13
    """
    depth = check_integer("depth", depth, 8)
    if (depth - 2) % 6:
        raise ValueError(
            f"depth={depth!r} must be 6n + 2 with n >= 1: 8, 14, 20, 26, ..."
        )
    make = LayerFactory(
        input_shape=input_shape,
        classes=classes,
        width=width,
        weight_decay=weight_decay,
        batch_norm_momentum=batch_norm_momentum,
        seed=seed,
        data_format=data_format,
    )
    images = make.input()
    x = make.conv(_STAGE_CHANNELS[0], 3, use_bias=False, name="conv1")(images)
    x = make.batch_norm("conv1_norm")(x)
    x = keras.layers.ReLU(name="conv1_relu")(x)
    channels = _STAGE_CHANNELS[0]
    for stage, stage_channels in enumerate(_STAGE_CHANNELS, 1):
        for block in range(1, (depth - 2) // 6 + 1):
            prefix = f"stage{stage}_block{block}"
            x = _block(make, x, channels, stage_channels, prefix)
            channels = stage_channels
    x = keras.layers.GlobalAveragePooling2D(make.data_format, name="average")(x)
    return keras.Model(images, make.logits()(x), name=name or f"resnet{depth}")


def _block(
    make: LayerFactory, x: Any, channels_in: int, channels_out: int, prefix: str
) -> Any:
    """Two convolutions and a shortcut; more channels out than in halve the image."""
    halve = channels_in != channels_out
    shortcut = x
    if halve:
        added = make.scaled(channels_out) - make.scaled(channels_in)
        shortcut = _halving_shortcut(make, x, added, prefix)
    x = make.conv(
        channels_out,
        3,
        strides=2 if halve else 1,
        use_bias=False,
        name=f"{prefix}_conv1",
    )(x)
    x = make.batch_norm(f"{prefix}_norm1")(x)
    x = keras.layers.ReLU(name=f"{prefix}_relu1")(x)
    x = make.conv(channels_out, 3, use_bias=False, name=f"{prefix}_conv2")(x)
    x = make.batch_norm(f"{prefix}_norm2")(x)
    x = keras.layers.Add(name=f"{prefix}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{prefix}_relu2")(x)


def _halving_shortcut(make: LayerFactory, x: Any, added: int, prefix: str) -> Any:
    """Every second row and column, with `added` channels of zeros after the others.

    Keras layers only, so that saved models load without this package.
    """
    # Pooling of size 1 and stride 2 is subsampling.
    x = keras.layers.MaxPooling2D(
        1, 2, data_format=make.data_format, name=f"{prefix}_subsample"
    )(x)
    # ZeroPadding2D pads two neighbouring axes. With the other layout, one of them is
    # the channel axis: axes 2 and 3 of NHWC, 1 and 2 of NCHW.
    channels, unpadded = (0, added), (0, 0)
    return keras.layers.ZeroPadding2D(
        (channels, unpadded) if make.channels_first else (unpadded, channels),
        data_format="channels_last" if make.channels_first else "channels_first",
        name=f"{prefix}_zeros",
    )(x)
