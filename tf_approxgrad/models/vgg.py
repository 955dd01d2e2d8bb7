"""VGG-19 with batch normalisation, for small images."""

from __future__ import annotations

import keras

from tf_approxgrad.models.factory import LayerFactory

# Configuration E of Simonyan and Zisserman: convolutions and channels of each block.
_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))


def vgg19(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 10,
    *,
    width: float = 1.0,
    weight_decay: float = 0.0,
    batch_norm_momentum: float = 0.9,
    seed: int | None = None,
    data_format: str | None = None,
    name: str = "vgg19",
) -> keras.Model:
    """Builds VGG-19 with batch normalisation and CIFAR-10's smaller dense layers.

    Sixteen 3x3 convolutions in five blocks (`block1_conv1`, ..., `block5_conv4`), each
    followed by batch normalisation, and three dense layers of 512, 512 and `classes`
    units in place of ImageNet's 4096, 4096 and 1000. Each block ends in max pooling,
    which rounds odd sizes up, so that 28x28 images pass too. Source: Simonyan and
    Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition,
    ICLR 2015, configuration E.

    Args:
        input_shape: Height, width and channels, in the order of `data_format` and
            without the batch. `None` means CIFAR-10's, `(32, 32, 3)`.
        classes: Number of classes, at least 2.
        width: Factor on the number of channels and units of every hidden layer.
        weight_decay: Factor on the sum of squares of every kernel in the loss
            (`keras.regularizers.L2`).
        batch_norm_momentum: Momentum of the moving averages of batch normalisation.
            Keras' default, 0.99, lags behind in runs of a few hundred steps.
        seed: Seed of the initial weights (He normal, one stream for each kernel), an
            integer >= 0; `None` means Keras' global seed.
        data_format: `"channels_last"` or `"channels_first"`; `None` means
            `keras.config.image_data_format()`.
        name: The model's name.

    Returns:
        A functional model from images `[N, *input_shape]` to logits `[N, classes]`. The
        logits are float32 under Keras' mixed precision policies.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument isn't allowed.

    Example:

    >>> import keras
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.vgg19(input_shape=(28, 28, 1), width=0.25)
    >>> model.output_shape
    (None, 10)
    >>> sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers)
    16
    """
    make = LayerFactory(
        input_shape=input_shape,
        classes=classes,
        width=width,
        weight_decay=weight_decay,
        batch_norm_momentum=batch_norm_momentum,
        seed=seed,
        data_format=data_format,
    )
    images = x = make.input()
    for block, (convolutions, channels) in enumerate(_BLOCKS, 1):
        prefix = f"block{block}"
        for i in range(1, convolutions + 1):
            x = make.conv(channels, 3, use_bias=False, name=f"{prefix}_conv{i}")(x)
            x = make.batch_norm(f"{prefix}_norm{i}")(x)
            x = keras.layers.ReLU(name=f"{prefix}_relu{i}")(x)
        x = make.max_pool(2, f"{prefix}_pool")(x)
    x = make.flatten()(x)
    x = make.dense(512, "dense1")(x)
    x = make.dense(512, "dense2")(x)
    return keras.Model(images, make.logits()(x), name=name)
