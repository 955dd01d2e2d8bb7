"""Reads the whole Fashion-MNIST (60,000 + 10,000 images) from files that exist."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_UNSIGNED_BYTE = 8


def load(
    folder: str | os.PathLike[str] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Loads Fashion-MNIST; nothing is downloaded or written.

    Args:
      folder: Where the four .gz files are. `None` means Debian's folder or else Keras'
        cache.

    Returns:
      Training images `[60000, 28, 28, 1]` uint8, training labels `[60000]` int64, test
      images `[10000, 28, 28, 1]` and test labels `[10000]`.

    Raises:
      FileNotFoundError: If a file is missing; the message says what to install.
      ValueError: If a file is damaged.
    """
    found = _find_folder(folder)
    arrays = []
    for images_file, labels_file in (_FILES[:2], _FILES[2:]):
        images = read_idx(found / images_file, dimensions=3)
        labels = read_idx(found / labels_file, dimensions=1)
        if len(images) != len(labels):
            raise ValueError(
                f"{found} holds {len(images)} images in {images_file}, but "
                f"{len(labels)} labels in {labels_file}: one of them is damaged."
            )
        if labels.max(initial=0) >= CLASSES:
            raise ValueError(
                f"{found / labels_file} holds the label {labels.max()}, but labels are "
                f"0 to {CLASSES - 1}: the file is damaged."
            )
        arrays += [images[..., np.newaxis], labels.astype(np.int64)]
    return tuple(arrays)


def _find_folder(folder: str | os.PathLike[str] | None) -> Path:
    if folder is None:
        keras_home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
        candidates = [DEBIAN_FOLDER, keras_home / "datasets" / "fashion-mnist"]
    else:
        candidates = [Path(folder).expanduser()]
    missing = {
        candidate: [name for name in _FILES if not (candidate / name).is_file()]
        for candidate in candidates
    }
    for candidate, names in missing.items():
        if not names:
            return candidate
    found = "; ".join(f"{path} lacks {', '.join(n)}" for path, n in missing.items())
    raise FileNotFoundError(
        f"fashion_mnist needs {len(_FILES)} files, but {found}. Install them with "
        "`apt-get install dataset-fashion-mnist`, or let "
        "keras.datasets.fashion_mnist.load_data() download them once."
    )


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Reads one gzipped IDX file of unsigned bytes.

    The format: two zero bytes, the element type, the number of dimensions, each size
    as a big-endian 32-bit integer, then the elements.

    Args:
      path: The file.
      dimensions: The number of dimensions that it must have.

    Returns:
      A uint8 array.

    Raises:
      ValueError: If the file is damaged or not of that kind.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    header = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    start = len(header) + 4 * dimensions
    if content[: len(header)] != header or len(content) < start:
        raise ValueError(
            f"{path} isn't an IDX file of unsigned bytes with {dimensions} dimensions: "
            f"it starts with {content[: len(header)].hex()}, not {header.hex()}."
        )
    shape = tuple(map(int, np.frombuffer(content, ">u4", dimensions, len(header))))
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{path} is damaged: it announces {math.prod(shape)} bytes, shape {shape}, "
            f"but holds {len(content) - start}."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
