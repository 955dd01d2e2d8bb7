r"""Makes a plan for each of several networks, and says how true it is.

    python -m benchmarks.planning.plans --networks=resnet18_half --epochs=0,5 \
        --csv=plans.csv

After each of the given numbers of epochs, `tf_approxgrad.plan` measures and chooses on
the network as it is then. It predicts the speed-up of a step from the layers' times and
measures it on whole steps in turns: the row has both. Images are those of
`benchmarks.planning.images`, 10,000 at most; the optimizer is Adam. Training goes on
with exact gradients by the fastest kernels.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras

import tf_approxgrad as tfag
from benchmarks.arguments import add_threads, at_least, make_parser, new_file
from benchmarks.machine import Machine, measure_machine, set_threads
from benchmarks.planning.images import make_images
from benchmarks.rows import merge, write_csv
from benchmarks.steps.networks import SMALL_NETWORKS


@dataclasses.dataclass(frozen=True)
class Row:
    """A plan.

    Attributes:
        network: Name in `SMALL_NETWORKS`.
        batch: Examples of a minibatch.
        epochs: Epochs of training before.
        seconds: Time that the plan took.
        layers: Convertible layers.
        approximated: Layers with approximate gradients.
        full_ms: Time of a plain step.
        predicted: Speed-up of the plan over it, predicted.
        measured: The same, measured.
        exact: That of exact gradients by the fastest kernels, measured where the plan
            has them, else predicted.
        tau: Extra variance.
        net: Net gain by the measured speed-up.
        half_batch: Net gain of half the batch.
        bfloat16: Speed-up of `mixed_bfloat16`; 0 if there is none.
        noise_batch: Batch at which the gradient's noise equals its signal.
    """

    network: str
    batch: int
    epochs: int
    seconds: float
    layers: int
    approximated: int
    full_ms: float
    predicted: float
    measured: float
    exact: float
    tau: float
    net: float
    half_batch: float
    bfloat16: float
    noise_batch: float


@dataclasses.dataclass(frozen=True)
class CsvRow(Row, Machine):
    """A row with all that it depends on."""


def make_row(name: str, epochs: int, seconds: float, plan: tfag.Plan) -> Row:
    """The row of a plan."""
    others = {x.name.split(" ")[0]: x for x in plan.alternatives}
    exact = others["exact"].speed_up if "exact" in others else plan.speed_up
    return Row(
        network=name,
        batch=plan.batch_size,
        epochs=epochs,
        seconds=seconds,
        layers=len(plan.layers),
        approximated=sum(not layer.method.is_exact for layer in plan.layers),
        full_ms=plan.full_step_ms,
        predicted=plan.predicted_speed_up,
        measured=plan.speed_up,
        exact=exact,
        tau=plan.tau,
        net=plan.net,
        half_batch=others["half"].net,
        bfloat16=others["mixed_bfloat16"].speed_up,
        noise_batch=plan.noise_batch,
    )


def measure(
    name: str, epochs: Sequence[int], images: int, reports: Path | None
) -> Iterator[Row]:
    """Trains a network, and makes a plan after each of the numbers of epochs."""
    network = SMALL_NETWORKS[name]
    keras.utils.set_random_seed(0)
    model = network.build()
    x, y = make_images(network, model.output_shape[1:], images)
    tfag.approximate_gradients(model)
    is_softmax = getattr(model.layers[-1].activation, "__name__", "") == "softmax"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not is_softmax)
    model.compile("adam", loss)
    trained = 0
    for count in sorted(epochs):
        if count > trained:
            model.fit(x, y, network.batch, epochs=count - trained, verbose=0)
            trained = count
        start = time.perf_counter()
        plan = tfag.plan(model, x, y, batch_size=network.batch, verbose=False)
        seconds = time.perf_counter() - start
        print(plan, flush=True)
        if reports is not None:
            (reports / f"plan_{name}.txt").write_text(f"{plan}\n", encoding="utf-8")
        yield make_row(name, count, seconds, plan)


_FORM = "{:16} {:>6} {:>7} {:>9} {:>9} {:>7} {:>6} {:>6} {:>5} {:>8} {:>6} {:>6}"


def format_row(row: Row) -> str:
    return _FORM.format(
        row.network,
        row.epochs,
        f"{row.seconds:.1f}",
        f"{row.predicted:.3f}",
        f"{row.measured:.3f}",
        f"{row.exact:.3f}",
        f"{row.tau:.3f}",
        f"{row.net:.3f}",
        f"{row.approximated}",
        f"{row.noise_batch:.0f}",
        f"{row.half_batch:.2f}",
        f"{row.bfloat16:.2f}",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_threads(parser)
    add = parser.add_argument
    names = ", ".join(SMALL_NETWORKS)
    add("--networks", default=",".join(SMALL_NETWORKS), help=f"of {names}")
    add("--epochs", default="0", help="epochs after which to plan")
    add("--images", type=at_least(256), default=10_000, help="images to train on")
    add("--csv", type=new_file, help="file to write the rows to")
    add("--reports", type=Path, help="folder to write the last reports to")
    args = parser.parse_args(arguments)
    chosen = args.networks.split(",")
    for name in chosen:
        if name not in SMALL_NETWORKS:
            parser.error(f"--networks: {name!r} is none of {names}")
    epochs = [int(count) for count in args.epochs.split(",")]
    set_threads(args.threads)
    machine = measure_machine(args.threads)
    titles = ("network", "epochs", "seconds", "predicted", "measured", "exact", "tau")
    rows: list[Row] = []
    for name in chosen:
        for row in measure(name, epochs, args.images, args.reports):
            rows.append(row)
            if args.csv:
                write_csv(args.csv, [merge(CsvRow, machine, x) for x in rows], CsvRow)
        keras.utils.clear_session()
    print(f"{machine}\n")
    others = ("net", "appr.", "B_noise", "half", "bf16")
    print(_FORM.format(*titles, *others))
    for row in rows:
        print(format_row(row))


if __name__ == "__main__":
    main()
