"""The data sets: what is chosen of them, and files that are missing or damaged."""

import gzip
import hashlib
from pathlib import Path

import datasets
import fashion_mnist
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st


def test_embedded_subset_is_what_the_readme_says():
    data = datasets.load_dataset("embedded")
    assert data.train_images.shape == (10_000, 28, 28, 1)
    assert data.validation_images.shape == (2_000, 28, 28, 1)
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
    whole = datasets.load_dataset("embedded")
    data = datasets.load_dataset("embedded", validation="holdout")
    assert len(data.train_images) == 9_000
    np.testing.assert_array_equal(np.bincount(data.validation_labels), [100] * 10)
    trained, held_out = map(fingerprints, (data.train_images, data.validation_images))
    assert sorted(trained + held_out) == sorted(fingerprints(whole.train_images))
    tests = set(fingerprints(whole.validation_images))
    assert not tests & set(held_out) - set(fingerprints(whole.train_images))


def test_limit_takes_as_many_of_each_class():
    data = datasets.load_dataset("embedded", limit=50)
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "mnist"}, ("data='mnist'", "embedded", "fashion_mnist", "cifar10")),
        ({"name": "embedded", "validation": "none"}, ("validation='none'", "holdout")),
        ({"name": "embedded", "limit": 9}, ("limit=9", "10")),
        ({"name": "embedded", "data_path": "x"}, ("data_path='x'", "embedded")),
        ({"name": "cifar10"}, ("data='cifar10'", "data_path", "cifar-10-python")),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError) as caught:
        datasets.load_dataset(**arguments)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 half a zip"])
def test_damaged_embedded_file_is_refused(content, tmp_path):
    path = tmp_path / "subset.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"subset\.npz is damaged"):
        datasets.read_embedded(path)
    assert path.read_bytes() == content


# --- Fashion-MNIST's own files --------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    return gzip.compress(
        header + np.array(array.shape, ">u4").tobytes() + array.astype("u1").tobytes()
    )


def write_fashion_mnist(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for kind, count in (("train", 30), ("t10k", 10)):
        images = np.arange(count * 784).reshape(count, 28, 28)
        (folder / f"{kind}-images-idx3-ubyte.gz").write_bytes(idx(images % 251))
        (folder / f"{kind}-labels-idx1-ubyte.gz").write_bytes(
            idx(np.arange(count) % 10)
        )
    return folder


def assert_loaded(arrays) -> None:
    images, labels, test_images, test_labels = arrays
    assert images.shape == (30, 28, 28, 1)
    assert test_images.shape == (10, 28, 28, 1)
    np.testing.assert_array_equal(labels, np.arange(30) % 10)
    np.testing.assert_array_equal(test_labels, np.arange(10))
    np.testing.assert_array_equal(
        images[1, :, :, 0].ravel(), np.arange(784, 1568) % 251
    )


def test_fashion_mnist_is_read_from_a_folder(tmp_path):
    assert_loaded(fashion_mnist.load(write_fashion_mnist(tmp_path / "given")))


@pytest.mark.parametrize("place", ["Debian", "KERAS_HOME", "home"])
def test_fashion_mnist_is_found_where_debian_and_keras_put_it(
    place, tmp_path, monkeypatch
):
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    cache = Path("datasets", "fashion-mnist")
    if place == "KERAS_HOME":
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    folders = {
        "Debian": tmp_path / "debian",
        "KERAS_HOME": tmp_path / "keras" / cache,
        "home": tmp_path / "user" / ".keras" / cache,
    }
    write_fashion_mnist(folders[place])
    assert_loaded(fashion_mnist.load())


def test_missing_fashion_mnist_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion"):
        fashion_mnist.load()
    folder = write_fashion_mnist(tmp_path / "given")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"given lacks t10k-labels-idx1"):
        fashion_mnist.load(folder)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("train-images-idx3-ubyte.gz", b"no gzip", "is damaged"),
        ("train-images-idx3-ubyte.gz", idx(np.zeros((30, 28, 28)))[:50], "is damaged"),
        ("train-images-idx3-ubyte.gz", idx(np.zeros(30)), "3 dimensions"),
        (
            "train-labels-idx1-ubyte.gz",
            gzip.compress(gzip.decompress(idx(np.zeros(30)))[:-5]),
            "announces 30 bytes",
        ),
        ("train-labels-idx1-ubyte.gz", idx(np.zeros(29)), "30 images"),
        ("train-labels-idx1-ubyte.gz", idx(np.full(30, 10)), "the label 10"),
    ],
    # Compressed bytes name the time at which they were made.
    ids=["no gzip", "cut", "dimensions", "bytes", "images", "label"],
)
def test_damaged_fashion_mnist_is_refused(name, content, word, tmp_path):
    folder = write_fashion_mnist(tmp_path / "given")
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=word) as caught:
        fashion_mnist.load(folder)
    assert name in str(caught.value)
    assert (folder / name).read_bytes() == content
