"""Reads CIFAR-10's Python version from the archive or the extracted folder.

The batches are pickles, which can run any code when they are loaded by the `pickle`
module as it is. Here they can't: the few names that a batch needs stand for harmless
classes of this file, every other name is refused, and NumPy sees the pixels alone.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import pickle
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 10
IMAGES_PER_BATCH = 10_000
TRAINING_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCH = "test_batch"
SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"

_BATCHES = (*TRAINING_BATCHES, TEST_BATCH)
_FOLDER = "cifar-10-batches-py"
_PIXELS = 3 * 32 * 32
# A real batch has 31 million bytes; a file far beyond that is no batch.
_MOST_BYTES = 1 << 26


def load(
    path: str | os.PathLike[str], images_per_batch: int = IMAGES_PER_BATCH
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Loads CIFAR-10; only reads, and extracts nothing to the disk.

    Args:
      path: cifar-10-python.tar.gz, the .tar inside it, or the folder that it extracts
        to (cifar-10-batches-py, or the folder above).
      images_per_batch: The number of images that every batch must hold.

    Returns:
      Training images `[50000, 32, 32, 3]` uint8, training labels `[50000]` int64, test
      images `[10000, 32, 32, 3]` and test labels `[10000]`.

    Raises:
      FileNotFoundError: If the path doesn't exist.
      ValueError: If batches are missing or damaged; the message names them.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"data_path={str(path)!r} doesn't exist; give cifar-10-python.tar.gz from "
            f"{SOURCE} or the folder that it extracts to."
        )
    files = _read_folder(path) if path.is_dir() else _read_archive(path)
    missing = [name for name in _BATCHES if name not in files]
    if missing:
        raise ValueError(
            f"data_path={str(path)!r} lacks {', '.join(missing)}; CIFAR-10's Python "
            f"version (cifar-10-python.tar.gz from {SOURCE}) holds {len(_BATCHES)} "
            f"batches: {', '.join(_BATCHES)}."
        )
    batches = {
        name: _parse_batch(files.pop(name), f"{name} of {path}", images_per_batch)
        for name in _BATCHES
    }
    images, labels = zip(*(batches[name] for name in TRAINING_BATCHES), strict=True)
    return np.concatenate(images), np.concatenate(labels), *batches[TEST_BATCH]


def _read_folder(folder: Path) -> dict[str, bytes]:
    if (folder / _FOLDER).is_dir():
        folder = folder / _FOLDER
    files = {}
    for path in (folder / name for name in _BATCHES):
        if path.is_file():
            _check_size(path.stat().st_size, f"{path.name} of {folder}")
            files[path.name] = path.read_bytes()
    return files


def _read_archive(archive: Path) -> dict[str, bytes]:
    files = {}
    with archive.open("rb") as start:
        zipped = start.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(archive) if zipped else archive.open("rb") as stream:
            for member, content in _regular_members(stream):
                name = member.name.rsplit("/", 1)[-1]
                if name in _BATCHES:
                    _check_size(member.size, f"{name} of {archive}")
                    files[name] = content.read()
            # The checksum is at the end, behind what tarfile reads.
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"data_path={str(archive)!r} is damaged or no tar archive ({error}); "
            f"download cifar-10-python.tar.gz again from {SOURCE}."
        ) from error
    return files


def _regular_members(stream: Any) -> Iterator[tuple[tarfile.TarInfo, Any]]:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.isreg():
                yield member, tar.extractfile(member)


def _check_size(size: int, source: str) -> None:
    if size > _MOST_BYTES:
        raise ValueError(
            f"{source} has {size} bytes, but a batch of CIFAR-10 has about 31 million: "
            "it is damaged."
        )


class _DType:
    """Stands for numpy.dtype in a pickle."""

    def __init__(self, code: str | bytes = "", *_: Any) -> None:
        self.code = code.decode() if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        """Takes byte order and the like, which bytes don't have."""


class _Array:
    """Stands for numpy.ndarray in a pickle: what its state says, not yet believed."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def images(self) -> np.ndarray:
        """The pixels as `[N, 32, 32, 3]` uint8."""
        _, shape, dtype, columns_first, content = self.state
        if not isinstance(dtype, _DType) or dtype.code != "u1":
            raise ValueError("its data isn't of type uint8")
        if len(shape) != 2 or shape[1] != _PIXELS or len(content) != math.prod(shape):
            raise ValueError(
                f"its data has shape {shape} and {len(content)} bytes, but "
                f"[images, {_PIXELS}] is needed"
            )
        order = "F" if columns_first else "C"
        pixels = np.frombuffer(content, np.uint8).reshape(shape, order=order)
        return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _encode(text: str, encoding: str) -> bytes:
    # Python 3 writes bytes like this in the protocol that Python 2 reads.
    if encoding != "latin1":
        raise ValueError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _BatchUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is no part of a CIFAR-10 batch"
            )
        return _STAND_INS[module, name]


def _parse_batch(
    content: bytes, source: str, images_per_batch: int
) -> tuple[np.ndarray, np.ndarray]:
    try:
        # Python 2 wrote the files: its strings are bytes.
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        images, labels = _images_and_labels(batch)
    # A damaged pickle can raise nearly anything.
    except Exception as error:
        raise ValueError(
            f"{source} is damaged or no batch of CIFAR-10's Python version: {error}."
        ) from error
    if len(images) != images_per_batch:
        raise ValueError(
            f"{source} holds {len(images)} images, but {images_per_batch} are needed."
        )
    return images, labels


def _images_and_labels(batch: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(batch, dict):
        raise ValueError(f"it holds a {type(batch).__name__}, not a dict")
    fields = {
        key.decode() if isinstance(key, bytes) else key: value
        for key, value in batch.items()
    }
    missing = {"data", "labels"} - fields.keys()
    if missing:
        raise ValueError(f"it has the keys {sorted(fields)}, but not {sorted(missing)}")
    data, labels = fields["data"], fields["labels"]
    if not isinstance(data, _Array):
        raise ValueError(f"its data is a {type(data).__name__}, not an array")
    images = data.images()
    if not isinstance(labels, list) or len(labels) != len(images):
        raise ValueError(f"its labels aren't a list of {len(images)}")
    wrong = [x for x in labels if type(x) is not int or not 0 <= x < CLASSES]
    if wrong:
        raise ValueError(
            f"it has the label {wrong[0]!r}, but labels are 0 to {CLASSES - 1}"
        )
    return images, np.array(labels, np.int64)
