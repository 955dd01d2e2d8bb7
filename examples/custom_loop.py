"""A training loop of your own: `bind_step`, a compiled step and a checkpoint.

    python examples/custom_loop.py --epochs=2 --checkpoint=runs/custom_loop

The first epoch is exact, then the share of approximated steps grows. Started again
with more epochs, it goes on at the step where it stopped.
"""

import argparse

import fashion_mnist
import keras
import tensorflow as tf

import tf_approxgrad as tfag


def make_batches(x, y, batch):
    """Whole batches of float images `[batch, 28, 28, 1]` and labels."""
    x = x[..., None].astype("float32") / 255
    data = tf.data.Dataset.from_tensor_slices((x, y.astype("int64")))
    return data.batch(batch, drop_remainder=True)


def main(epochs=3, images=10_000, batch=128, checkpoint=None, jit_compile=False):
    """Trains; returns the loss of each epoch and the share approximated so far."""
    keras.utils.set_random_seed(0)
    (x, y), (x_test, y_test) = fashion_mnist.load_data()
    training = make_batches(x[:images], y[:images], batch)
    testing = make_batches(x_test[:images], y_test[:images], batch)
    steps = len(training)

    method = tfag.RowSampledGradient(
        share=0.5, probability="product", keep_largest=True
    )
    schedule = tfag.Ramp(method, begin=steps, end=3 * steps)
    model = tfag.approximate_gradients(tfag.models.cnn2((28, 28, 1)), schedule)
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    # The layers read the step in the graph, so that it is right after a restart.
    tfag.bind_step(model, optimizer.iterations)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = model.trainable_weights

    @tf.function(jit_compile=jit_compile)
    def train_step(images, labels):
        with tf.GradientTape() as tape:
            # training=True is what makes the gradient approximate.
            loss = loss_of(labels, model(images, training=True))
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        optimizer.apply(gradients, weights)
        return loss

    manager = None
    if checkpoint:
        state = tf.train.Checkpoint(model=model, optimizer=optimizer)
        manager = tf.train.CheckpointManager(state, checkpoint, max_to_keep=1)
        manager.restore_or_initialize()
    history = []
    for epoch in range(int(optimizer.iterations) // steps, epochs):
        loss, accuracy = (
            keras.metrics.Mean(),
            keras.metrics.SparseCategoricalAccuracy(),
        )
        for batch_of_images, labels in training.shuffle(steps, seed=epoch):
            loss.update_state(train_step(batch_of_images, labels))
        for batch_of_images, labels in testing:
            accuracy.update_state(labels, model(batch_of_images, training=False))
        share = schedule.fraction(layers=2, steps=int(optimizer.iterations))
        history.append((float(loss.result()), share))
        print(
            f"epoch {epoch + 1}: loss {history[-1][0]:.4f}, test accuracy "
            f"{float(accuracy.result()):.4f}, {share:.0%} approximated so far"
        )
        if manager:
            manager.save()
    return history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--checkpoint", help="folder to go on from and to save to")
    parser.add_argument("--jit_compile", action="store_true", help="compile by XLA")
    main(**vars(parser.parse_args()))
