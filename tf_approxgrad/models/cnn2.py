"""Krizhevsky's CIFAR-10 network, the paper's 2-layer CNN."""

from __future__ import annotations

import keras

from tf_approxgrad.models.factory import LayerFactory


def cnn2(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 10,
    *,
    width: float = 1.0,
    weight_decay: float = 0.0,
    batch_norm_momentum: float = 0.9,
    seed: int | None = None,
    data_format: str | None = None,
    name: str = "cnn2",
) -> keras.Model:
    """Builds Krizhevsky's CIFAR-10 network of two convolutions, `conv1` and `conv2`.

    It is the network of TensorFlow's CIFAR-10 tutorial (conv 5x5x64, pool, norm, conv
    5x5x64, norm, pool, dense 384, dense 192), with batch normalisation in place of
    local response normalisation, as in Wang and Nelaturu (2019). Source: A.
    Krizhevsky, cuda-convnet (2011); https://www.tensorflow.org/tutorials/deep_cnn.

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

    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1), seed=1)
    >>> model.output_shape
    (None, 10)
    >>> [layer.name for layer in model.layers if "conv" in layer.name]
    ['conv1', 'conv2']
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
    images = make.input()
    x = make.conv(64, 5, activation="relu", name="conv1")(images)
    x = make.max_pool(3, "pool1")(x)
    x = make.batch_norm("norm1")(x)
    x = make.conv(64, 5, activation="relu", name="conv2")(x)
    x = make.batch_norm("norm2")(x)
    x = make.max_pool(3, "pool2")(x)
    x = make.flatten()(x)
    x = make.dense(384, "dense1")(x)
    x = make.dense(192, "dense2")(x)
    return keras.Model(images, make.logits()(x), name=name)
