r"""A training loop of one's own: `bind_step`, a compiled step and a checkpoint.

    python examples/custom_loop.py --epochs=2 --checkpoint=runs/custom_loop

It trains the paper's 2-layer CNN on the images of Fashion-MNIST in this repository.
The first epoch is exact, then the share of approximated steps grows. Started again
with more epochs, it goes on at the step where it stopped.
"""

from __future__ import annotations

import keras
import tensorflow as tf
from absl import app, flags
from batches import BatchMaker
from datasets import load_dataset

import tf_approxgrad as tfag

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_integer("epochs", 3, "Epochs in all.", lower_bound=1)
    flags.DEFINE_integer("batch", 128, "Images in a batch.", lower_bound=1)
    flags.DEFINE_integer("limit", None, "At most this many images.", lower_bound=10)
    flags.DEFINE_string("checkpoint", None, "Folder to go on from and to save to.")
    flags.DEFINE_bool("jit_compile", False, "Whether XLA compiles the step.")


class Loop:
    """A model, its optimizer and the compiled training step."""

    def __init__(self, batches: BatchMaker, image_shape: tuple[int, int, int]) -> None:
        keras.utils.set_random_seed(0)
        steps = batches.steps_per_epoch
        self.schedule = tfag.Ramp("max", begin=steps, end=3 * steps)
        model = tfag.models.cnn2(image_shape)
        self.model = tfag.approximate_gradients(model, self.schedule)
        self.optimizer = keras.optimizers.Adam()
        self.optimizer.build(self.model.trainable_variables)
        # The layers read the step in the graph, so that it is right after a restart.
        tfag.bind_step(self.model, self.optimizer.iterations)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.step = tf.function(self._step, jit_compile=FLAGS.jit_compile)

    def _step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            # training=True is what makes the gradient approximate.
            logits = self.model(images, training=True)
            loss = self.loss(labels, logits)
        weights = self.model.trainable_weights
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        self.optimizer.apply(gradients, weights)
        return loss

    def accuracy(self, batches: BatchMaker) -> float:
        metric = keras.metrics.SparseCategoricalAccuracy()
        for images, labels in batches.validation():
            metric.update_state(labels, self.model(images, training=False))
        return float(metric.result())


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    dataset = load_dataset("embedded", limit=FLAGS.limit)
    batches = BatchMaker(dataset, FLAGS.batch, seed=0, augment=False)
    loop = Loop(batches, dataset.image_shape)
    manager = None
    if FLAGS.checkpoint:
        checkpoint = tf.train.Checkpoint(model=loop.model, optimizer=loop.optimizer)
        manager = tf.train.CheckpointManager(
            checkpoint, FLAGS.checkpoint, max_to_keep=1
        )
        if manager.restore_or_initialize():
            print(f"continues at step {int(loop.optimizer.iterations)}")
    first = int(loop.optimizer.iterations) // batches.steps_per_epoch
    training = iter(batches.training(first, ahead=True))
    for epoch in range(first, FLAGS.epochs):
        mean = keras.metrics.Mean()
        for _ in range(batches.steps_per_epoch):
            mean.update_state(loop.step(*next(training)))
        step = int(loop.optimizer.iterations)
        print(
            f"epoch {epoch + 1}: step {step}, loss {float(mean.result()):.4f}, "
            f"validation accuracy {loop.accuracy(batches):.4f}, "
            f"{loop.schedule.fraction(layers=2, steps=step):.0%} approximated so far"
        )
        if manager:
            manager.save()


if __name__ == "__main__":
    define_flags()
    app.run(main)
