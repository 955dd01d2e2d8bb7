r"""Measures what sampling the tiles of a Winograd filter gradient is worth.

    python -m benchmarks.variance.tile_sampling --epochs=1,5 --csv=tile_sampling.csv

A tile is 4x4 positions of dY with the patch of X below. Tiles are drawn independently
with probabilities in proportion to the product of both norms, clipped at 1, so that the
largest are kept; rows likewise, as `RowSampledGradient(probability="product",
keep_largest=True)` draws them. Their extra variance on a minibatch is
`sum (1 - pi) / pi * |contribution|**2`, without any draw.

The network is a half-width ResNet-18 on the embedded images of Fashion-MNIST, batch
128, Adam. Of its convolutions those that Winograd applies to are sampled. The net gain
is that over a step of which all gradients are exact by the fastest kernels:
`s / (1 + tau)`, tau the mean of the layers' V / N.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

import tf_approxgrad as tfag
from benchmarks.arguments import add_threads, make_parser, new_file
from benchmarks.machine import Machine, measure_machine, set_threads
from benchmarks.paired_times import PairedTimes
from benchmarks.rows import merge, write_csv
from benchmarks.steps.networks import resnet18
from benchmarks.training.datasets import load_dataset
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.inputs import GradientInputs
from tf_approxgrad.measure.backward_pass import backpropagate
from tf_approxgrad.measure.capture import observed_layers

_BATCH, _TILE, _SHARES = 128, 4, (0.5, 0.25)
_MINIBATCHES, _MINIBATCHES_OF_V = 8, 3
_WARM_UP_CALLS, _ROUNDS = 2, 9


@dataclasses.dataclass(frozen=True)
class Row:
    """One way of sampling on all layers that Winograd applies to.

    Attributes:
        epoch: Finished epochs of training.
        sampled: "tiles" or "rows".
        share: Expected share of them.
        tau: Mean over layers of extra variance over minibatch variance.
        tau_all: The same of the sums over all weights.
        winograd_ms: Time of the layers' exact filter gradients by Winograd.
        dense_ms: The same by TensorFlow.
        sampled_ms: The same from the sample.
        step_ms: Time of a step with exact gradients by the fastest kernels.
        net: Net gain over such a step.
        layers_that_gain: Layers of which sampling alone has a net gain above 1, with
          their own V over the minibatch variance of all sampled layers.
        layers: Layers sampled.
    """

    epoch: int
    sampled: str
    share: float
    tau: float
    tau_all: float
    winograd_ms: float
    dense_ms: float
    sampled_ms: float
    step_ms: float
    net: float
    layers_that_gain: int
    layers: int


@dataclasses.dataclass(frozen=True)
class CsvRow(Row, Machine):
    """A row with all that it depends on."""


def inclusion(sizes: np.ndarray, share: float) -> np.ndarray:
    """Probabilities in proportion to `sizes`, at most 1, that add up to the share."""
    left, chosen = share * np.count_nonzero(sizes), np.zeros(len(sizes), bool)
    while True:
        factor = left / max(sizes[~chosen].sum(), 1e-300)
        more = ~chosen & (factor * sizes >= 1)
        if not more.any():
            return np.where(chosen, 1.0, np.minimum(factor * sizes, 1.0))
        chosen |= more
        left = share * np.count_nonzero(sizes) - chosen.sum()


def extra_variance(sizes: np.ndarray, squares: np.ndarray, share: float) -> float:
    """That of independent draws of terms with these squared norms."""
    drawn = sizes > 0
    probability = inclusion(sizes[drawn], share)
    return float(((1 - probability) / probability * squares[drawn]).sum())


def terms(inputs: GradientInputs) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What tiles and rows are drawn by, and the squared norms of their parts of dF."""
    dy = inputs.out_backprop
    patches = tf.image.extract_patches(
        inputs.input, [1, 3, 3, 1], [1, 1, 1, 1], [1, 1, 1, 1], "SAME"
    )
    squares_of_rows = tf.reduce_sum(dy**2, -1) * tf.reduce_sum(patches**2, -1)
    rows = np.sqrt(squares_of_rows.numpy().ravel().astype(np.float64))

    def tiles(tensor: tf.Tensor) -> tf.Tensor:
        shape = tensor.shape
        pads = [-size % _TILE for size in shape[1:3]]
        tensor = tf.pad(tensor, [[0, 0], [0, pads[0]], [0, pads[1]], [0, 0]])
        cut = tf.nn.space_to_depth(tensor, _TILE)
        return tf.reshape(cut, [-1, _TILE**2, shape[-1]])

    of_dy, of_x = tiles(dy), tiles(patches)
    products = tf.matmul(of_dy, of_dy, transpose_b=True)
    products *= tf.matmul(of_x, of_x, transpose_b=True)
    squares = np.maximum(tf.reduce_sum(products, [1, 2]).numpy(), 0).astype(np.float64)
    norms = tf.norm(of_dy, axis=[1, 2]) * tf.norm(of_x, axis=[1, 2])
    return {
        "tiles": (norms.numpy().astype(np.float64), squares),
        "rows": (rows, rows**2),
    }


def variances(
    model: keras.Model,
    layers: dict[int, keras.layers.Layer],
    batches: Iterator[tuple[tf.Tensor, tf.Tensor]],
) -> tuple[np.ndarray, dict[tuple[str, float], np.ndarray], dict[int, GradientInputs]]:
    """Each layer's minibatch variance N, V of each way, and inputs of a gradient."""
    gradients: dict[int, list[np.ndarray]] = {index: [] for index in layers}
    extra = {(x, s): np.zeros(len(layers)) for x in ("tiles", "rows") for s in _SHARES}
    example: dict[int, GradientInputs] = {}
    for number in range(_MINIBATCHES):
        x, y = next(batches)
        with observed_layers(model, layers) as (observer, policies):
            backpropagate(model, x, y, None)
            calls = {i: observer.filter_calls[policies[i]][0] for i in layers}
        for place, (index, call) in enumerate(calls.items()):
            gradients[index].append(call.gradient(tfag.FullGradient()).numpy())
            example[index] = call.inputs
            if number < _MINIBATCHES_OF_V:
                for sampled, (sizes, squares) in terms(call.inputs).items():
                    for share in _SHARES:
                        extra[sampled, share][place] += (
                            extra_variance(sizes, squares, share) / _MINIBATCHES_OF_V
                        )
    minibatch = np.array(
        [np.var(values, axis=0, ddof=1).sum() for values in gradients.values()]
    )
    return minibatch, extra, example


def milliseconds(
    inputs: GradientInputs, methods: Sequence[tfag.GradientMethod]
) -> list[float]:
    """Median times of filter gradients, in turns."""
    steps = itertools.count()

    def make(method: tfag.GradientMethod) -> Callable[[], object]:
        @tf.function
        def gradient(x: tf.Tensor, dy: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
            tensors = {"input": x, "out_backprop": dy, "step": step}
            return filter_gradient(method, dataclasses.replace(inputs, **tensors))

        return lambda: gradient(
            inputs.input, inputs.out_backprop, tf.constant(next(steps), tf.int64)
        )

    return median_ms({method.label: make(method) for method in methods})


def median_ms(functions: dict[str, Callable[[], object]]) -> list[float]:
    times = PairedTimes(list(functions), 1, _WARM_UP_CALLS)
    for _ in range(_WARM_UP_CALLS + _ROUNDS):
        times.run(functions)
    return [times.step_ms(name) for name in functions]


def layer_times(inputs: GradientInputs) -> dict[object, float]:
    """Times of the exact gradients and of each way of sampling."""
    methods: dict[object, tfag.GradientMethod] = {
        "dense": tfag.FullGradient(),
        "winograd": tfag.WinogradGradient(),
    }
    for share in _SHARES:
        methods["tiles", share] = tfag.TileSampledGradient(share)
        methods["rows", share] = tfag.RowSampledGradient(
            share, probability="product", keep_largest=True
        )
    return dict(zip(methods, milliseconds(inputs, [*methods.values()]), strict=True))


def make_rows(
    epoch: int,
    minibatch: np.ndarray,
    extra: dict[tuple[str, float], np.ndarray],
    times: dict[int, dict[object, float]],
    step: float,
) -> list[Row]:
    def total(key: object) -> float:
        return sum(taken[key] for taken in times.values())

    rows = []
    for (sampled, share), variance in extra.items():
        of_layers = variance / minibatch
        tau = float(of_layers.mean())
        saved = np.array(
            [taken["winograd"] - taken[sampled, share] for taken in times.values()]
        )
        alone = step / (step - saved) / (1 + of_layers / len(of_layers))
        rows.append(
            Row(
                epoch=epoch,
                sampled=sampled,
                share=share,
                tau=tau,
                tau_all=float(variance.sum() / minibatch.sum()),
                winograd_ms=total("winograd"),
                dense_ms=total("dense"),
                sampled_ms=total((sampled, share)),
                step_ms=step,
                net=step / (step - float(saved.sum())) / (1 + tau),
                layers_that_gain=int((alone > 1).sum()),
                layers=len(of_layers),
            )
        )
    return rows


def measure(epochs: Sequence[int]) -> Iterator[list[Row]]:
    """Trains, and measures after the epochs."""
    data = load_dataset("embedded", 10_000)
    x = data.train_images.astype(np.float32) / 255
    y = data.train_labels
    keras.utils.set_random_seed(0)
    model = resnet18(data.image_shape)
    tfag.approximate_gradients(model)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    layers = {
        index: layer
        for index, layer in enumerate(model.layers, start=1)
        if isinstance(layer, keras.layers.Conv2D)
        and layer.kernel_size == (3, 3)
        and layer.strides == (1, 1)
        and layer.input.shape[-1] > 1
    }
    for epoch in range(1, max(epochs) + 1):
        model.fit(x, y, batch_size=_BATCH, verbose=0)
        if epoch not in epochs:
            continue
        batches = iter(
            tf.data.Dataset.from_tensor_slices((x, y))
            .shuffle(len(x), seed=1)
            .batch(_BATCH)
        )
        minibatch, extra, example = variances(model, layers, batches)
        by_shape: dict[object, dict[object, float]] = {}
        times = {}
        for index, inputs in example.items():
            key = tuple(inputs.input.shape), tuple(inputs.out_backprop.shape)
            if key not in by_shape:
                by_shape[key] = layer_times(inputs)
            times[index] = by_shape[key]
        weights = model.get_weights()
        batch = x[:_BATCH], y[:_BATCH]
        (step,) = median_ms({"step": functools.partial(model.train_on_batch, *batch)})
        model.set_weights(weights)
        yield make_rows(epoch, minibatch, extra, times, step)


_FORM = "{:>5} {:6} {:>6} {:>7} {:>7} {:>9} {:>9} {:>9} {:>8} {:>6} {:>10}"


def format_row(row: Row) -> str:
    return _FORM.format(
        row.epoch,
        row.sampled,
        row.share,
        f"{row.tau:.3f}",
        f"{row.tau_all:.3f}",
        f"{row.dense_ms:.1f}",
        f"{row.winograd_ms:.1f}",
        f"{row.sampled_ms:.1f}",
        f"{row.step_ms:.1f}",
        f"{row.net:.3f}",
        f"{row.layers_that_gain} of {row.layers}",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_threads(parser)
    parser.add_argument("--epochs", default="1,5", help="epochs after which to measure")
    parser.add_argument("--csv", type=new_file, help="file to write the rows to")
    args = parser.parse_args(arguments)
    set_threads(args.threads)
    machine = measure_machine(args.threads)
    print(f"{machine}\n")
    titles = ("epoch", "of", "share", "tau", "all", "dense", "Winograd", "sampled")
    print(_FORM.format(*titles, "step", "net", "gain alone"))
    rows: list[CsvRow] = []
    for measured in measure([int(epoch) for epoch in args.epochs.split(",")]):
        for row in measured:
            print(format_row(row), flush=True)
            rows.append(merge(CsvRow, machine, row))
        if args.csv:
            write_csv(args.csv, rows, CsvRow)


if __name__ == "__main__":
    main()
