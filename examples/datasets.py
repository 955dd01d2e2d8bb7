"""The images to train on: the embedded subset, Fashion-MNIST or CIFAR-10.

Whatever is on the disk is only read. No choice of images is random: two programs that
ask for the same get the same.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
import zlib
from pathlib import Path

import cifar10
import fashion_mnist
import numpy as np

NAMES = ("embedded", "fashion_mnist", "cifar10")
VALIDATIONS = ("test", "holdout")
EMBEDDED_FILE = Path(__file__).parent / "data" / "fashion_mnist_subset.npz"

_CLASSES = 10
_HOLDOUT_SHARE = 10
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled images for training and for validation.

    Attributes:
      name: One of `NAMES`.
      validation: Where the validation images come from, one of `VALIDATIONS`.
      train_images: `[n, height, width, channels]` uint8.
      train_labels: `[n]` int64, from 0 to `classes` - 1.
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

    @property
    def classes(self) -> int:
        return _CLASSES

    def __str__(self) -> str:
        origin = {"test": "test images", "holdout": "images held out of training"}
        return (
            f"{self.name}: {len(self.train_images):,} training images, validation on "
            f"{len(self.validation_images):,} {origin[self.validation]}"
        )


def load_dataset(
    name: str,
    data_path: str | os.PathLike[str] | None = None,
    validation: str = "test",
    limit: int | None = None,
) -> Dataset:
    """Loads a data set and chooses the images for training and validation.

    Args:
      name: `"embedded"` (10,000 + 2,000 images of Fashion-MNIST), `"fashion_mnist"`
        (60,000 + 10,000) or `"cifar10"` (50,000 + 10,000).
      data_path: For cifar10 the archive or the extracted folder. For fashion_mnist the
        folder with its four files; `None` looks where Debian and Keras put them.
      validation: `"test"` validates on the test images. `"holdout"` validates on the
        last tenth of each class of the training images, which are then not trained
        on, and leaves the test images alone: choose settings with it.
      limit: At most this many training and this many validation images.

    Returns:
      The images and labels.

    Raises:
      FileNotFoundError: If files are missing.
      ValueError: If an argument isn't allowed or files are damaged.
    """
    if name not in NAMES:
        raise ValueError(f"data={name!r} must be one of {', '.join(NAMES)}.")
    if validation not in VALIDATIONS:
        raise ValueError(
            f"validation={validation!r} must be one of {', '.join(VALIDATIONS)}."
        )
    if limit is not None and limit < _CLASSES:
        raise ValueError(f"limit={limit} must be at least {_CLASSES}.")
    images, labels, test_images, test_labels = _read(name, data_path)
    if validation == "holdout":
        kept = first_of_each_class(labels, len(labels) - len(labels) // _HOLDOUT_SHARE)
        held_out = np.setdiff1d(np.arange(len(labels)), kept)
        test_images, test_labels = images[held_out], labels[held_out]
        images, labels = images[kept], labels[kept]
    if limit is not None:
        chosen = first_of_each_class(labels, limit)
        images, labels = images[chosen], labels[chosen]
        chosen = first_of_each_class(test_labels, limit)
        test_images, test_labels = test_images[chosen], test_labels[chosen]
    return Dataset(name, validation, images, labels, test_images, test_labels)


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


def _read(
    name: str, data_path: str | os.PathLike[str] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if name == "cifar10":
        if data_path is None:
            raise ValueError(
                "data='cifar10' needs data_path: cifar-10-python.tar.gz from "
                f"{cifar10.SOURCE} or the folder that it extracts to."
            )
        return cifar10.load(data_path)
    if name == "fashion_mnist":
        return fashion_mnist.load(data_path)
    if data_path is not None:
        raise ValueError(
            f"data_path={str(data_path)!r} goes with cifar10 and fashion_mnist, not "
            "with data='embedded'."
        )
    return read_embedded(EMBEDDED_FILE)


def read_embedded(
    path: Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Reads the file that make_fashion_mnist_subset.py wrote.

    Args:
      path: The .npz file.

    Returns:
      Training images `[n, 28, 28, 1]` uint8, training labels `[n]` int64, test images
      and test labels.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels, test_images, test_labels = (file[key] for key in _ARRAYS)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged ({error}); get it again from the repository, or make "
            "it with examples/make_fashion_mnist_subset.py."
        ) from error
    return (
        images[..., np.newaxis],
        labels.astype(np.int64),
        test_images[..., np.newaxis],
        test_labels.astype(np.int64),
    )
