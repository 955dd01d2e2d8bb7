"""The data sets: what is chosen of them, and how files are read."""

import gzip
import hashlib

import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.training import datasets
from benchmarks.training.datasets import load_dataset


def test_embedded_images_are_a_thousand_of_each_class():
    data = load_dataset("embedded", 60_000)
    assert data.image_shape == (28, 28, 1)
    assert data.train_images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(data.train_labels), [1000] * 10)
    np.testing.assert_array_equal(np.bincount(data.validation_labels), [200] * 10)
    assert "10,000 training images, validation on 2,000 test" in str(data)


def test_embedded_file_is_small_enough_for_the_repository():
    assert datasets.EMBEDDED_FILE.stat().st_size < 6e6


def fingerprints(images):
    return [hashlib.md5(image.tobytes()).hexdigest() for image in images]


def test_holdout_validates_on_training_images_that_are_not_trained_on():
    whole = load_dataset("embedded", 60_000)
    data = load_dataset("embedded", 60_000, validation="holdout")
    assert len(data.train_images) == 9_000
    np.testing.assert_array_equal(np.bincount(data.validation_labels), [100] * 10)
    trained, held_out = map(fingerprints, (data.train_images, data.validation_images))
    assert sorted(trained + held_out) == sorted(fingerprints(whole.train_images))


def test_images_are_limited_to_as_many_of_each_class():
    data = load_dataset("embedded", 50)
    np.testing.assert_array_equal(np.bincount(data.train_labels), [5] * 10)
    np.testing.assert_array_equal(np.bincount(data.validation_labels), [5] * 10)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 50))
def test_first_of_each_class_are_the_first_and_even(labels, count):
    labels = np.array(labels)
    chosen = datasets.first_of_each_class(labels, count)
    assert (np.diff(chosen) > 0).all()
    kept = [np.count_nonzero(labels[chosen] == c) for c in np.unique(labels)]
    for label, number in zip(np.unique(labels), kept, strict=True):
        first = np.flatnonzero(labels == label)[:number]
        np.testing.assert_array_equal(chosen[labels[chosen] == label], first)
        # Fewer than another class only where there are no more.
        assert number >= max(kept) - 1 or number == np.count_nonzero(labels == label)
    assert sum(kept) <= count


def idx(array):
    header = bytes([0, 0, 8, array.ndim])
    sizes = np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + sizes + array.astype("u1").tobytes())


def test_fashion_mnist_is_read_from_the_files_of_debian(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "DEBIAN_FOLDER", tmp_path)
    for part, count in (("train", 30), ("t10k", 10)):
        images = np.arange(count * 784).reshape(count, 28, 28) % 251
        labels = np.arange(count) % 10
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    data = load_dataset("fashion_mnist", 60_000)
    assert data.train_images.shape == (30, 28, 28, 1)
    assert data.validation_images.shape == (10, 28, 28, 1)
    np.testing.assert_array_equal(data.train_labels, np.arange(30) % 10)
    np.testing.assert_array_equal(
        data.train_images[1, :, :, 0].ravel(), np.arange(784, 1568) % 251
    )


def test_cifar10_comes_from_keras(monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    y = np.arange(20)[:, None] % 10
    monkeypatch.setattr(
        keras.datasets.cifar10, "load_data", lambda: ((x, y), (x[:10], y[:10]))
    )
    data = load_dataset("cifar10", 60_000)
    np.testing.assert_array_equal(data.train_images, x)
    assert data.validation_labels.tolist() == list(range(10))
