"""Batches: an order that follows from seed and epoch, and the augmentation."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.training.batches import BatchMaker, crop_and_flip
from benchmarks.training.datasets import Dataset

COUNT = 23
BATCH = 5


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (COUNT, 6, 7, 2), np.uint8)
    return Dataset(
        "made up", "test", images, np.arange(COUNT), images[:8], np.arange(8)
    )


def epochs(data, count=1, first_epoch=0, seed=0, augment=False):
    """The labels, which number the images, and the images of some epochs."""
    maker = BatchMaker(data, BATCH, seed, augment)
    batches = maker.training(first_epoch)
    taken = list(itertools.islice(batches, count * maker.steps_per_epoch))
    labels = np.array([labels.numpy() for _, labels in taken])
    images = np.array([images.numpy() for images, _ in taken])
    return labels.reshape(count, -1), images


@pytest.mark.parametrize("augment", [False, True])
def test_epoch_2_is_the_same_in_a_run_that_starts_there(data, augment):
    labels, images = epochs(data, 3, augment=augment)
    later, later_images = epochs(data, 1, 2, augment=augment)
    np.testing.assert_array_equal(later[0], labels[2])
    np.testing.assert_array_equal(later_images, images[-len(later_images) :])


def test_epoch_has_no_image_twice_and_another_order_each_time(data):
    labels, _ = epochs(data, 4)
    assert labels.shape == (4, COUNT // BATCH * BATCH)
    for row in labels:
        assert len(set(row)) == len(row)
    assert len({tuple(row) for row in labels}) == 4
    other, _ = epochs(data, 4, seed=1)
    assert not (labels == other).all(axis=1).any()


def test_images_are_standardised_by_the_training_images(data):
    labels, images = epochs(data)
    pixels = data.train_images.astype(np.float64)
    mean, deviation = pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))
    expected = ((pixels - mean) / deviation)[labels[0]].reshape(images.shape)
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_images_of_one_colour_give_finite_values():
    images = np.full((6, 2, 2, 1), 7, np.uint8)
    data = Dataset("plain", "test", images, np.arange(6), images, np.arange(6))
    batch, _ = next(iter(BatchMaker(data, 3, 0, False).training(0)))
    np.testing.assert_array_equal(batch, np.zeros(batch.shape))


def test_validation_holds_every_image_once_in_order(data):
    batches = list(BatchMaker(data, BATCH, 0, True).validation())
    assert [len(labels) for _, labels in batches] == [5, 3]
    labels = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(labels, data.validation_labels)


def test_batch_larger_than_the_data_is_refused(data):
    with pytest.raises(ValueError, match=r"batch=24 must be at most 23"):
        BatchMaker(data, 24, 0, False)


def test_augmentation_moves_and_mirrors_and_nothing_else():
    images = np.random.default_rng(0).integers(1, 256, (64, 6, 7, 2), np.uint8)
    made = crop_and_flip(tf.constant(images), tf.constant([3, 5])).numpy()
    padded = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)])
    found = []
    for image, source in zip(made, padded, strict=True):
        matches = [
            (row, col, flipped)
            for row, col, flipped in itertools.product(range(9), range(9), (0, 1))
            if np.array_equal(
                image[:, ::-1] if flipped else image,
                source[row : row + 6, col : col + 7],
            )
        ]
        assert matches
        found.append(matches[0])
    rows, cols, flips = map(set, zip(*found, strict=True))
    assert rows == cols == set(range(9))
    assert flips == {0, 1}
    again = crop_and_flip(tf.constant(images), tf.constant([3, 5])).numpy()
    np.testing.assert_array_equal(made, again)
    other = crop_and_flip(tf.constant(images), tf.constant([3, 6])).numpy()
    assert not np.array_equal(made, other)
