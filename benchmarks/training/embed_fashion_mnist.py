"""Makes examples/data/fashion_mnist_subset.npz from the whole Fashion-MNIST.

    python -m benchmarks.training.embed_fashion_mnist

It chooses the first 1,000 training and the first 200 test images of each class, in
their order, so that it always makes the same arrays.
"""

from __future__ import annotations

import numpy as np

from benchmarks.training.datasets import (
    EMBEDDED_FILE,
    first_of_each_class,
    read_fashion_mnist,
)

_TRAINING_IMAGES = 10_000
_TEST_IMAGES = 2_000


def make_subset() -> dict[str, np.ndarray]:
    """The arrays of the file: images `[n, 28, 28]` and labels `[n]`, all uint8."""
    images, labels, test_images, test_labels = read_fashion_mnist()
    training = first_of_each_class(labels, _TRAINING_IMAGES)
    test = first_of_each_class(test_labels, _TEST_IMAGES)
    return {
        "train_images": images[training, :, :, 0],
        "train_labels": labels[training],
        "test_images": test_images[test, :, :, 0],
        "test_labels": test_labels[test],
    }


if __name__ == "__main__":
    np.savez_compressed(EMBEDDED_FILE, **make_subset())
    print(f"wrote {EMBEDDED_FILE}")
