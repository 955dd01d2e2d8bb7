"""A subset of Fashion-MNIST that needs no download, for the examples.

`from keras.datasets import fashion_mnist` gives the whole, by the same call.
"""

from pathlib import Path

import numpy as np

_FILE = Path(__file__).parent / "data" / "fashion_mnist_subset.npz"


def load_data():
    """Returns `(x_train, y_train), (x_test, y_test)`: 10,000 and 2,000 images uint8."""
    with np.load(_FILE) as file:
        return (
            (file["train_images"], file["train_labels"]),
            (file["test_images"], file["test_labels"]),
        )
