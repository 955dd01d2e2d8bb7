r"""Times what it costs that a step picks its methods in the graph.

    python examples/benchmark_switching.py --layers=20 --steps=200

A network of small convolutions trains under `Alternate`, whose layers pick their
method at each step, and in turns with it as if each step had been traced by itself:
one function with the methods of the even steps fixed, and one with those of the odd.
The ratio is the median over windows of two steps.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable

import keras
import tensorflow as tf
from absl import app, flags
from benchmarking import set_threads
from step_times import PairedTimes

import tf_approxgrad as tfag

FLAGS = flags.FLAGS
_PERIOD = 2
_WARM_UP_STEPS = 10


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_integer("layers", 20, "Convolutions of the network.", lower_bound=2)
    flags.DEFINE_integer("channels", 16, "Channels of each.", lower_bound=1)
    flags.DEFINE_integer("size", 16, "Rows and columns of the images.", lower_bound=1)
    flags.DEFINE_integer("batch", 32, "Images in a batch.", lower_bound=1)
    flags.DEFINE_integer("steps", 200, "Timed steps of each.", lower_bound=2)
    flags.DEFINE_string("method", "max", "The approximate method.")
    flags.DEFINE_integer("threads", None, "By default one for each processor.", 1)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What switching costs.

    Attributes:
      fixed_ms: Median time of a step whose methods were fixed when it was traced.
      switching_ms: That of a step that picks them.
      percent: By how much a window of switching steps takes longer than the window of
        fixed ones beside it; the median.
    """

    fixed_ms: float
    switching_ms: float
    percent: float


def make_step(
    schedule: tfag.Schedule, layers: int, channels: int, size: int
) -> Callable:
    """A training step, traced at its first call, that takes images and labels."""
    keras.utils.set_random_seed(0)
    convolutions = [
        keras.layers.Conv2D(channels, 3, padding="same", activation="relu")
        for _ in range(layers)
    ]
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    model = keras.Sequential(
        [keras.Input((size, size, channels)), *convolutions, *head]
    )
    model = tfag.approximate_gradients(model, schedule)
    optimizer = keras.optimizers.SGD(0.01)
    tfag.bind_step(model, optimizer.iterations)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = model.trainable_weights

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        optimizer.apply(gradients, weights)
        return loss

    return step


def measure(
    method: str, layers: int, channels: int, size: int, batch: int, steps: int
) -> Cost:
    """Times `steps` steps of each kind, in turns."""
    alternate = tfag.Alternate(method)
    chosen = range(2, layers + 1, 2)
    sizes = (layers, channels, size)
    switching = make_step(alternate, *sizes)
    fixed = [
        make_step(tfag.Constant("full"), *sizes),
        make_step(tfag.Constant(method, layers=chosen), *sizes),
    ]
    images = tf.random.stateless_normal([batch, size, size, channels], seed=[0, 1])
    labels = tf.range(batch) % 10
    times = PairedTimes(["fixed", "switching"], _PERIOD, _WARM_UP_STEPS)
    for number in range(_WARM_UP_STEPS + steps // _PERIOD * _PERIOD):
        seconds = {}
        functions = {"fixed": fixed[number % _PERIOD], "switching": switching}
        for name in times.order():
            start = time.perf_counter()
            loss = float(functions[name](images, labels))
            seconds[name] = time.perf_counter() - start
            if not math.isfinite(loss):
                raise ValueError(f"the loss of the {name} steps is {loss}")
        times.add(seconds)
    return Cost(
        times.step_ms("fixed"),
        times.step_ms("switching"),
        -times.speed_up("switching", "fixed"),
    )


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    set_threads(FLAGS.threads or os.cpu_count() or 1)
    sizes = (FLAGS.layers, FLAGS.channels, FLAGS.size, FLAGS.batch, FLAGS.steps)
    cost = measure(FLAGS.method, *sizes)
    print(
        f"{FLAGS.layers} layers: {cost.fixed_ms:.2f} ms a step with methods fixed at "
        f"trace time, {cost.switching_ms:.2f} ms with methods picked in the graph: "
        f"{cost.percent:+.1f}%"
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
