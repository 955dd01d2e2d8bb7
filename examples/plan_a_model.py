"""Measures whether faster gradients are worth it for a model, and trains by the result.

    python examples/plan_a_model.py --epochs=2 --output=plan.json

The report compares the plan with plain Keras, and with what one could do instead: exact
gradients by faster kernels, half the batch and mixed_bfloat16. Where nothing gains 3%,
the plan is plain Keras. A plan leaves the model as it was; the conversion follows.
"""

import argparse

import fashion_mnist
import keras

import tf_approxgrad as tfag


def main(epochs=1, images=10_000, batch=128, width=1.0, output=None):
    """Plans, converts, trains; returns the plan and the model, Keras' own again."""
    keras.utils.set_random_seed(0)
    (x, y), _ = fashion_mnist.load_data()
    x, y = x[:images, ..., None].astype("float32") / 255, y[:images]
    model = tfag.models.cnn2((28, 28, 1), width=width)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])

    plan = tfag.plan(model, x, y, batch_size=batch)
    print(plan)
    if output:
        plan.to_json(output)

    model = tfag.approximate_gradients(model, plan)
    callback = tfag.ApproximationCallback()
    model.fit(x, y, batch_size=batch, epochs=epochs, callbacks=[callback], verbose=2)
    return plan, tfag.strip_approximation(model)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=float, default=1.0, help="of the network")
    parser.add_argument("--output", help="the JSON file of the plan to write")
    main(**vars(parser.parse_args()))
