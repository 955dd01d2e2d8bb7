"""Makes examples/data/fashion_mnist_subset.npz from the whole Fashion-MNIST.

Run it with `python examples/make_fashion_mnist_subset.py` where Debian's package
dataset-fashion-mnist is installed. It chooses the first 1,000 training and the first
200 test images of each class, in their order, so that it always makes the same file.
"""

from __future__ import annotations

import sys

import datasets
import fashion_mnist
import numpy as np

_TRAINING_IMAGES = 10_000
_TEST_IMAGES = 2_000


def make_subset() -> dict[str, np.ndarray]:
    """The arrays of the file: images `[n, 28, 28]` and labels `[n]`, all uint8."""
    images, labels, test_images, test_labels = fashion_mnist.load()
    training = datasets.first_of_each_class(labels, _TRAINING_IMAGES)
    test = datasets.first_of_each_class(test_labels, _TEST_IMAGES)
    return {
        "train_images": images[training, :, :, 0],
        "train_labels": labels[training].astype(np.uint8),
        "test_images": test_images[test, :, :, 0],
        "test_labels": test_labels[test].astype(np.uint8),
    }


def main() -> None:
    try:
        subset = make_subset()
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"make_fashion_mnist_subset.py: {error}")
    np.savez_compressed(datasets.EMBEDDED_FILE, **subset)
    print(f"wrote {datasets.EMBEDDED_FILE}")


if __name__ == "__main__":
    main()
