r"""Times whole training steps with exact gradients by the fastest kernels.

    python -m benchmarks.steps.exact_step --networks=vgg19,unet --csv=exact_step.csv

Of each network four models train on the same made-up batch, their steps in turns: the
plain one in float32, the same converted by `approximate_gradients(model)`, and both
under Keras' `mixed_bfloat16` policy, which a user would try first. The last two are
left out without AVX-512 and without oneDNN (`TF_ENABLE_ONEDNN_OPTS=0`), where
TensorFlow's bfloat16 is many times slower than float32. A ratio is the median of the
ratios of neighbouring steps.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence

import keras
import numpy as np

import tf_approxgrad as tfag
from benchmarks.arguments import add_threads, at_least, make_parser, new_file
from benchmarks.machine import Machine, measure_machine, set_threads
from benchmarks.paired_times import PairedTimes
from benchmarks.rows import merge, write_csv
from benchmarks.steps.networks import NETWORKS, Network

_WARM_UP_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of a network.

    Attributes:
        network: Its name in `NETWORKS`.
        batch: Examples of a batch.
        image: Shape of an image.
        full_ms: Median time of a plain step.
        exact_ms: That with exact gradients by the fastest kernels.
        bfloat16_ms: That of a plain step under `mixed_bfloat16`; NaN if left out.
        both_ms: That of a step with exact gradients under `mixed_bfloat16`, likewise.
        exact_ratio: How many times as fast as full exact is.
        bfloat16_ratio: How many times as fast as full bfloat16 is.
        both_ratio: How many times as fast as full both together are.
    """

    network: str
    batch: int
    image: str
    full_ms: float
    exact_ms: float
    bfloat16_ms: float
    both_ms: float
    exact_ratio: float
    bfloat16_ratio: float
    both_ratio: float


@dataclasses.dataclass(frozen=True)
class CsvRow(Row, Machine):
    """A row with all that it depends on."""


def make_steps(
    network: Network, with_bfloat16: bool
) -> dict[str, Callable[[], object]]:
    """A training step of each model, which waits for its loss."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal([network.batch, *network.image], np.float32)

    def make(policy: str, is_converted: bool) -> Callable[[], object]:
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(policy)
        try:
            model = network.build()
        finally:
            keras.config.set_dtype_policy("float32")
        if is_converted:
            tfag.approximate_gradients(model)
        outputs = model.output_shape
        y = generator.integers(0, outputs[-1], [network.batch, *outputs[1:-1]])
        model.compile(
            keras.optimizers.SGD(1e-3, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return lambda: model.train_on_batch(x, y)

    functions = {"full": make("float32", False), "exact": make("float32", True)}
    if with_bfloat16:
        functions["bfloat16"] = make("mixed_bfloat16", False)
        functions["both"] = make("mixed_bfloat16", True)
    return functions


def measure(name: str, network: Network, steps: int, with_bfloat16: bool) -> Row:
    """Times `steps` steps of each model, in turns."""
    functions = make_steps(network, with_bfloat16)
    times = PairedTimes(list(functions), 1, _WARM_UP_STEPS)
    for _ in range(_WARM_UP_STEPS + steps):
        times.run(functions)
    found = {}
    for kind in ("exact", "bfloat16", "both"):
        is_timed = kind in functions
        found[f"{kind}_ms"] = times.step_ms(kind) if is_timed else math.nan
        ratio = times.times_as_fast(kind, "full") if is_timed else math.nan
        found[f"{kind}_ratio"] = ratio
    return Row(
        network=name,
        batch=network.batch,
        image="x".join(map(str, network.image)),
        full_ms=times.step_ms("full"),
        **found,
    )


_FORM = "{:16} {:>5} {:12} {:>9} {:>9} {:>9} {:>9} {:>10} {:>13} {:>9}"


def format_row(row: Row) -> str:
    return _FORM.format(
        row.network,
        row.batch,
        row.image,
        f"{row.full_ms:.1f}",
        f"{row.exact_ms:.1f}",
        f"{row.bfloat16_ms:.1f}",
        f"{row.both_ms:.1f}",
        f"{row.exact_ratio:.3f}x",
        f"{row.bfloat16_ratio:.3f}x",
        f"{row.both_ratio:.3f}x",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_threads(parser)
    add = parser.add_argument
    add("--networks", default=",".join(NETWORKS), help="of " + ", ".join(NETWORKS))
    add("--csv", type=new_file, help="file to write the rows to")
    add("--steps", type=at_least(3), default=15, help="timed steps of each model")
    args = parser.parse_args(arguments)
    names = args.networks.split(",")
    for name in names:
        if name not in NETWORKS:
            parser.error(f"--networks: {name!r} is none of {', '.join(NETWORKS)}")
    set_threads(args.threads)
    machine = measure_machine(args.threads)
    print(f"{machine}; ms a step\n")
    titles = ("network", "batch", "image", "full", "exact", "bfloat16", "both")
    print(_FORM.format(*titles, "full/exact", "full/bfloat16", "full/both"))
    without_onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0"
    rows = []
    for name in names:
        with_bfloat16 = machine.instruction_set == "avx512" and not without_onednn
        row = measure(name, NETWORKS[name], args.steps, with_bfloat16)
        print(format_row(row), flush=True)
        rows.append(merge(CsvRow, machine, row))
        if args.csv:
            write_csv(args.csv, rows, CsvRow)
        keras.utils.clear_session()


if __name__ == "__main__":
    main()
