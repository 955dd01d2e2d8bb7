"""Images and labels for the networks that plans are tried on."""

from __future__ import annotations

import numpy as np

from benchmarks.steps.networks import Network
from benchmarks.training.datasets import load_dataset

_SEED = 0


def make_images(
    network: Network, outputs: tuple[int, ...], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images of a network's size, with labels that can be learnt.

    They are those of Fashion-MNIST, enlarged with zeros at the border or by repeated
    pixels. For a network that labels every pixel, they are noise with an ellipse, and
    the labels say what lies inside.

    Args:
        network: The network.
        outputs: Shape of its outputs, from the second axis on.
        count: Number of images, at most 10,000.

    Returns:
        Images `[count, height, width, channels]` float32, and integer labels.
    """
    if len(outputs) > 1:
        return _ellipses(network.image, count)
    data = load_dataset("embedded", count)
    images = data.train_images.astype(np.float32) / 255
    height, width, channels = network.image
    times = height // images.shape[1]
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    pads = [
        (size - images.shape[axis]) // 2 for axis, size in ((1, height), (2, width))
    ]
    images = np.pad(images, [(0, 0), *((pad, pad) for pad in pads), (0, 0)])
    return images.repeat(channels, axis=3), data.train_labels


def _ellipses(image: tuple[int, int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(_SEED)
    height, width, channels = image
    rows, cols = np.mgrid[:height, :width]
    shape = (count, 1, 1)
    center_row = generator.uniform(0.2, 0.8, shape) * height
    center_col = generator.uniform(0.2, 0.8, shape) * width
    radii = generator.uniform(0.1, 0.4, (2, *shape)) * min(height, width)
    inside = ((rows - center_row) / radii[0]) ** 2 + (
        (cols - center_col) / radii[1]
    ) ** 2 < 1
    colors = generator.uniform(-1, 1, (count, 1, 1, channels))
    noise = generator.normal(0, 0.5, (count, *image))
    images = np.where(inside[..., None], colors, -colors) + noise
    return images.astype(np.float32), inside.astype(np.int64)
