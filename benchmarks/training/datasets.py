"""The images to train on: the embedded subset, Fashion-MNIST or CIFAR-10.

No choice of images is random: two programs that ask for the same get the same.
"""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import keras
import numpy as np

from benchmarks.machine import ROOT

NAMES = ("embedded", "fashion_mnist", "cifar10")
VALIDATIONS = ("test", "holdout")
CLASSES = 10
EMBEDDED_FILE = ROOT / "examples" / "data" / "fashion_mnist_subset.npz"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_HOLDOUT_SHARE = 10

# Training images [n, height, width, channels] uint8 and labels [n], test images and
# labels.
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled images for training and for validation.

    Attributes:
        name: One of `NAMES`, or what the images are.
        validation: Where the validation images come from, one of `VALIDATIONS`.
        train_images: `[n, height, width, channels]` uint8.
        train_labels: `[n]` int64, from 0 to `CLASSES` - 1.
        validation_images: As `train_images`.
        validation_labels: As `train_labels`.
    """

    name: str
    validation: str
    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.train_images.shape[1:]

    def __str__(self) -> str:
        origin = {"test": "test images", "holdout": "images held out of training"}
        return (
            f"{self.name}: {len(self.train_images):,} training images, validation on "
            f"{len(self.validation_images):,} {origin[self.validation]}"
        )


def load_dataset(name: str, images: int, validation: str = "test") -> Dataset:
    """Loads a data set and chooses the images for training and validation.

    Args:
        name: `"embedded"` (10,000 + 2,000 images of Fashion-MNIST), `"fashion_mnist"`
          (60,000 + 10,000) or `"cifar10"` (50,000 + 10,000). The second is read from
          Debian's package dataset-fashion-mnist where that is installed; otherwise
          Keras downloads it once, as it does the third.
        images: At most this many training and this many validation images, as many of
          each class.
        validation: `"test"` validates on the test images. `"holdout"` validates on the
          last tenth of each class of the training images, which are then not trained
          on, and leaves the test images alone: choose settings with it.
    """
    x, y, test_x, test_y = _READERS[name]()
    y, test_y = (np.ravel(labels).astype(np.int64) for labels in (y, test_y))
    if validation == "holdout":
        kept = first_of_each_class(y, len(y) - len(y) // _HOLDOUT_SHARE)
        held_out = np.setdiff1d(np.arange(len(y)), kept)
        test_x, test_y = x[held_out], y[held_out]
        x, y = x[kept], y[kept]
    chosen, tested = (first_of_each_class(labels, images) for labels in (y, test_y))
    return Dataset(
        name, validation, x[chosen], y[chosen], test_x[tested], test_y[tested]
    )


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Chooses images that represent every class alike: the first ones of each.

    Args:
        labels: `[n]` integers.
        count: How many to choose. What the number of classes doesn't divide goes to the
          lowest classes; of a class that has too few, all are chosen.

    Returns:
        Indices into `labels`, ascending.
    """
    classes = np.unique(labels)
    quota, rest = divmod(count, len(classes))
    chosen = [
        np.flatnonzero(labels == label)[: quota + (position < rest)]
        for position, label in enumerate(classes)
    ]
    return np.sort(np.concatenate(chosen))


def _read_embedded() -> Arrays:
    with np.load(EMBEDDED_FILE) as file:
        x, y, test_x, test_y = (
            file[f"{part}_{kind}"]
            for part in ("train", "test")
            for kind in ("images", "labels")
        )
    return x[..., np.newaxis], y, test_x[..., np.newaxis], test_y


def read_fashion_mnist() -> Arrays:
    """The whole of Fashion-MNIST."""
    if not DEBIAN_FOLDER.is_dir():
        train, test = keras.datasets.fashion_mnist.load_data()
    else:
        train, test = (
            (_read_idx(f"{part}-images-idx3", 3), _read_idx(f"{part}-labels-idx1", 1))
            for part in ("train", "t10k")
        )
    return train[0][..., np.newaxis], train[1], test[0][..., np.newaxis], test[1]


def _read_idx(name: str, dimensions: int) -> np.ndarray:
    """Reads a file of unsigned bytes behind 4 + 4 * dimensions bytes of header."""
    content = gzip.decompress((DEBIAN_FOLDER / f"{name}-ubyte.gz").read_bytes())
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _read_cifar10() -> Arrays:
    train, test = keras.datasets.cifar10.load_data()
    return *train, *test


_READERS = {
    "embedded": _read_embedded,
    "fashion_mnist": read_fashion_mnist,
    "cifar10": _read_cifar10,
}
