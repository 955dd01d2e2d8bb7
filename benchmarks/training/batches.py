"""Batches of a data set, in an order that follows from the seed and the epoch alone.

So an interrupted run that continues at epoch 3 sees what an uninterrupted one does,
and every method of a comparison sees the same.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from benchmarks.training.datasets import Dataset

_PADDING = 4


class BatchMaker:
    """Makes the batches that training and validation iterate over.

    Images become float32 and are standardised by the training images' mean and
    deviation of each channel.

    Args:
        dataset: The images.
        batch: Images in a batch, at most as many as there are training images.
        seed: Fixes the order and the augmentation.
        augment: Whether training images are cropped and flipped at random.

    Raises:
        ValueError: If there are fewer training images than `batch`.
    """

    def __init__(self, dataset: Dataset, batch: int, seed: int, augment: bool) -> None:
        count = len(dataset.train_images)
        if batch > count:
            raise ValueError(
                f"batch={batch} must be at most {count}, the number of training images."
            )
        self._dataset = dataset
        self._batch = batch
        self._seed = seed
        self._augment = augment
        axes = (0, 1, 2)
        self._mean = dataset.train_images.mean(axes, dtype=np.float64)
        deviation = dataset.train_images.std(axes, dtype=np.float64)
        # Images of one colour have no deviation; pixels differ by 1 at least.
        self._deviation = np.maximum(deviation, 1.0)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches only: the images left over differ from epoch to epoch."""
        return len(self._dataset.train_images) // self._batch

    def training(self, first_epoch: int) -> tf.data.Dataset:
        """Endless batches from the start of an epoch on, `steps_per_epoch` an epoch.

        None is made ahead: that would take cores from the steps that are timed.

        Args:
            first_epoch: The epoch to start with, from 0.

        Returns:
            A data set of images `[batch, h, w, c]` float32 and labels `[batch]`.
        """
        with tf.device("/CPU:0"):
            images = tf.constant(self._dataset.train_images)
            labels = tf.constant(self._dataset.train_labels)
        step_range = tf.range(self.steps_per_epoch, dtype=tf.int64)

        def epoch_indices(epoch: tf.Tensor) -> tf.data.Dataset:
            seed = tf.random.experimental.stateless_fold_in(self._seeds(0), epoch)
            order = tf.random.experimental.stateless_shuffle(
                tf.range(tf.shape(labels)[0]), seed
            )
            order = order[: self.steps_per_epoch * self._batch]
            steps = epoch * self.steps_per_epoch + step_range
            return tf.data.Dataset.from_tensor_slices(
                (steps, tf.reshape(order, [self.steps_per_epoch, self._batch]))
            )

        def make(step: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chosen = tf.gather(images, indices)
            if self._augment:
                seed = tf.random.experimental.stateless_fold_in(self._seeds(1), step)
                chosen = crop_and_flip(chosen, seed)
            return self._standardise(chosen), tf.gather(labels, indices)

        epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
        return epochs.flat_map(epoch_indices).map(make)

    def validation(self) -> tf.data.Dataset:
        """All validation images once, the last batch possibly smaller."""
        arrays = (self._dataset.validation_images, self._dataset.validation_labels)
        batches = tf.data.Dataset.from_tensor_slices(arrays).batch(self._batch)
        return batches.map(
            lambda images, labels: (self._standardise(images), labels), tf.data.AUTOTUNE
        )

    def _seeds(self, purpose: int) -> tf.Tensor:
        return tf.constant([self._seed, purpose], tf.int64)

    def _standardise(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.cast(images, tf.float32)
        mean = tf.constant(self._mean, tf.float32)
        return (images - mean) / tf.constant(self._deviation, tf.float32)


def crop_and_flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Moves each image by up to 4 pixels either way and mirrors every other one.

    Args:
        images: `[n, h, w, c]`. They are padded with 4 zeros on each side, and an h x w
          window is cut out.
        seed: `[2]` integers that fix what happens.

    Returns:
        Images of the same shape and type.
    """
    seeds = tf.random.experimental.stateless_split(seed, 2)
    count, height, width = (tf.shape(images)[axis] for axis in range(3))
    margin = [_PADDING, _PADDING]
    padded = tf.pad(images, [[0, 0], margin, margin, [0, 0]])
    offsets = tf.random.stateless_uniform(
        [2, count, 1], seeds[0], 0, 2 * _PADDING + 1, tf.int32
    )
    rows = tf.gather(padded, offsets[0] + tf.range(height), axis=1, batch_dims=1)
    cropped = tf.gather(rows, offsets[1] + tf.range(width), axis=2, batch_dims=1)
    flipped = tf.random.stateless_uniform([count, 1, 1, 1], seeds[1]) < 0.5
    cropped = tf.where(flipped, tf.reverse(cropped, [2]), cropped)
    return tf.ensure_shape(cropped, images.shape)
