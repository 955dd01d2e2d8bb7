"""Inputs and output gradients of the kinds that rows are drawn from."""

from collections.abc import Callable

import numpy as np
from reference import Problem

PROBLEM = Problem(n=4, size=(16, 16), ci=6, co=8)
Arrays = tuple[np.ndarray, np.ndarray]


def _normal(rng: np.random.Generator) -> Arrays:
    shape = (PROBLEM.n, *PROBLEM.size)
    return (
        rng.normal(size=(*shape, PROBLEM.ci)),
        rng.normal(size=(*shape, PROBLEM.co)),
    )


def _smoothed(images: np.ndarray, width: float) -> np.ndarray:
    """Images with a Gaussian filter over both spatial axes, which wrap around."""
    for axis in (1, 2):
        size = images.shape[axis]
        frequencies = np.fft.fftfreq(size)
        response = np.exp(-2 * (np.pi * width * frequencies) ** 2)
        shape = [size if n == axis else 1 for n in range(4)]
        spectrum = np.fft.fft(images, axis=axis) * response.reshape(shape)
        images = np.fft.ifft(spectrum, axis=axis).real
    return images / images.std()


def _smooth(rng: np.random.Generator) -> Arrays:
    """As of the first layers: neighbours are alike."""
    x, dy = _normal(rng)
    return _smoothed(x, 2.0), _smoothed(dy, 2.0)


def _sparse(rng: np.random.Generator) -> Arrays:
    """Behind and before ReLU: half of X and of dY is zero."""
    x, dy = _normal(rng)
    return np.maximum(x, 0), dy * (rng.normal(size=dy.shape) > 0)


def _pooled(rng: np.random.Generator) -> Arrays:
    """Before a 2x2 max-pooling: a quarter of dY isn't zero, and X is positive."""
    x, dy = _normal(rng)
    n, height, width, channels = dy.shape
    windows = rng.normal(size=(n, height // 2, 2, width // 2, 2, channels))
    largest = windows == windows.max(axis=(2, 4), keepdims=True)
    return np.maximum(x, 0), dy * largest.reshape(dy.shape)


def _few_examples(rng: np.random.Generator) -> Arrays:
    """As late in training: few examples carry the gradient."""
    x, dy = _smooth(rng)
    sizes = np.exp(2 * rng.normal(size=(PROBLEM.n, 1, 1, 1)))
    return np.maximum(x, 0), dy * sizes


def _one_row(rng: np.random.Generator) -> Arrays:
    """One row is 100 times as large as the others."""
    x, dy = _normal(rng)
    dy[1, 5, 6] *= 100
    return x, dy


def _uneven(rng: np.random.Generator) -> Arrays:
    """Rows of very different sizes, in no order."""
    x, dy = _normal(rng)
    return x, dy * np.exp(1.5 * rng.normal(size=(*dy.shape[:3], 1)))


def _equal(rng: np.random.Generator) -> Arrays:
    """All rows are the same, so that it doesn't matter which are drawn."""
    x, dy = _normal(rng)
    return np.ones_like(x), np.ones_like(dy)


def _stripes(rng: np.random.Generator) -> Arrays:
    """dY's sign alternates from column to column: the worst for systematic draws."""
    x, dy = _normal(rng)
    signs = (-1.0) ** np.arange(PROBLEM.size[1])[:, None]
    return np.ones_like(x), (1 + 0.05 * dy) * signs


KINDS: dict[str, Callable[[np.random.Generator], Arrays]] = {
    "normal": _normal,
    "smooth": _smooth,
    "sparse": _sparse,
    "pooled": _pooled,
    "few examples": _few_examples,
    "one row": _one_row,
    "uneven": _uneven,
    "equal": _equal,
    "stripes": _stripes,
}


def row_data(kind: str) -> Arrays:
    """float32 arrays of a kind for `PROBLEM`, always the same."""
    x, dy = KINDS[kind](np.random.default_rng(11))
    return x.astype(np.float32), dy.astype(np.float32)
