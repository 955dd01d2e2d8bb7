r"""Times what it costs that a step picks its methods in the graph.

    python -m benchmarks.steps.switching --layers=20 --steps=200

A network of small convolutions trains under `Alternate`, whose layers pick their
method at each step, and in turns with it as if each step had been traced by itself:
one function with the methods of the even steps fixed, and one with those of the odd.
The ratio is the median over windows of two steps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

import tf_approxgrad as tfag
from benchmarks.arguments import add_threads, at_least, make_parser
from benchmarks.machine import set_threads
from benchmarks.paired_times import PairedTimes

_PERIOD = 2
_WARM_UP_STEPS = 10


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
        functions = {"fixed": fixed[number % _PERIOD], "switching": switching}
        losses = times.run(
            {
                name: lambda f=f: float(f(images, labels))
                for name, f in functions.items()
            }
        )
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise ValueError(f"the loss of the {name} steps is {loss}")
    return Cost(
        times.step_ms("fixed"),
        times.step_ms("switching"),
        100 * (times.times_as_fast("fixed", "switching") - 1),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_threads(parser)
    add = parser.add_argument
    add("--layers", type=at_least(2), default=20, help="convolutions of the network")
    add("--channels", type=at_least(1), default=16, help="channels of each")
    add("--size", type=at_least(1), default=16, help="rows and columns of the images")
    add("--batch", type=at_least(1), default=32, help="images in a batch")
    add("--steps", type=at_least(2), default=200, help="timed steps of each")
    add("--method", default="max", help="the approximate method")
    args = parser.parse_args(arguments)
    set_threads(args.threads)
    cost = measure(
        args.method, args.layers, args.channels, args.size, args.batch, args.steps
    )
    print(
        f"{args.layers} layers: {cost.fixed_ms:.2f} ms a step with methods fixed at "
        f"trace time, {cost.switching_ms:.2f} ms with methods picked in the graph: "
        f"{cost.percent:+.1f}%"
    )


if __name__ == "__main__":
    main()
