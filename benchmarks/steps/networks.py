"""Networks of which whole training steps are timed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

import tf_approxgrad as tfag


@dataclasses.dataclass(frozen=True)
class Network:
    """A network and what it is trained on.

    Attributes:
        build: Makes the model, with softmax or logits as outputs.
        batch: Examples of a batch.
        image: Shape of an image.
    """

    build: Callable[[], keras.Model]
    batch: int
    image: tuple[int, int, int]


def resnet18(
    image: tuple[int, int, int], width: int = 32, momentum: float = 0.99
) -> keras.Model:
    """ResNet-18 of half width: convolutions of 32 to 256 channels."""
    layers = keras.layers

    def convolved(x: Any, filters: int, stride: int = 1, size: int = 3) -> Any:
        x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=momentum)(x)

    inputs = keras.Input(image)
    x = layers.ReLU()(convolved(inputs, width))
    for stage in range(4):
        filters = width * 2**stage
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            y = layers.ReLU()(convolved(x, filters, stride))
            y = convolved(y, filters)
            if stride > 1:
                x = convolved(x, filters, stride, size=1)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x), name="resnet18_half")


def unet(image: tuple[int, int, int], width: int = 32) -> keras.Model:
    """A U-Net of 32 to 512 channels, which labels every pixel with one of two."""
    layers = keras.layers

    def block(x: Any, filters: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        return x

    inputs = keras.Input(image)
    x, skipped = inputs, []
    for level in range(4):
        x = block(x, width * 2**level)
        skipped.append(x)
        x = layers.MaxPooling2D()(x)
    x = block(x, width * 16)
    for level in reversed(range(4)):
        x = layers.Conv2DTranspose(width * 2**level, 2, strides=2)(x)
        x = block(layers.Concatenate()([x, skipped[level]]), width * 2**level)
    return keras.Model(inputs, layers.Conv2D(2, 1)(x), name="unet")


def _application(name: str, image: tuple[int, int, int]) -> Callable[[], keras.Model]:
    build = getattr(keras.applications, name)
    return lambda: build(weights=None, input_shape=image, classes=10)


def _of_applications(
    **chosen: tuple[str, int, tuple[int, int, int]],
) -> dict[str, Network]:
    return {
        name: Network(_application(application, image), batch, image)
        for name, (application, batch, image) in chosen.items()
    }


_SMALL, _MIDDLE = (64, 64, 3), (128, 128, 3)
NETWORKS = {
    "vgg19": Network(
        lambda: tfag.models.vgg19(input_shape=(32, 32, 3)), 128, (32, 32, 3)
    ),
    "resnet18_half": Network(lambda: resnet18((28, 28, 1)), 128, (28, 28, 1)),
    "unet": Network(lambda: unet(_MIDDLE), 8, _MIDDLE),
    "resnet20": Network(
        lambda: tfag.models.resnet(depth=20, input_shape=(32, 32, 3)), 128, (32, 32, 3)
    ),
    **_of_applications(
        resnet50_64=("ResNet50", 32, _SMALL),
        resnet50_128=("ResNet50", 16, _MIDDLE),
        vgg16=("VGG16", 8, _MIDDLE),
        densenet121=("DenseNet121", 16, _MIDDLE),
        efficientnet_b0=("EfficientNetB0", 16, _MIDDLE),
        mobilenet_v2=("MobileNetV2", 16, _MIDDLE),
    ),
}
# Those that plans are tried on: images of 64x64 or smaller.
SMALL_NETWORKS = {
    "cnn2": Network(
        lambda: tfag.models.cnn2(input_shape=(28, 28, 1)), 128, (28, 28, 1)
    ),
    **{
        name: NETWORKS[name]
        for name in ("resnet20", "vgg19", "resnet18_half", "resnet50_64")
    },
    "unet_64": Network(lambda: unet(_SMALL), 32, _SMALL),
    **_of_applications(
        mobilenet_v2_64=("MobileNetV2", 32, _SMALL),
        densenet121_64=("DenseNet121", 32, _SMALL),
    ),
}
