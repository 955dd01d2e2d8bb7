r"""Trains a network in several ways, and says how long each takes to a given loss.

    python -m benchmarks.time_to_loss.sweep --model=resnet18_half --epochs=8
    python -m benchmarks.time_to_loss.sweep --model=resnet18_half --epochs=8 --time

The first makes the runs that are missing, seed by seed, goes on where an earlier call
stopped, and needs no quiet machine. The second times the steps of each way, in turns
with TensorFlow's at the largest batch, and needs the machine for itself. Both end with
the report. benchmarks/time_to_loss/contenders.py says what can be compared.

The learning rate falls with the images seen, so that each prefix of a run is a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import re
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import add_threads, at_least, make_parser
from benchmarks.frontier.runs import lock
from benchmarks.machine import ROOT, measure_machine, set_threads
from benchmarks.time_to_loss.contenders import DEFAULTS, Contender
from benchmarks.time_to_loss.report import draw, format_summaries
from benchmarks.time_to_loss.results import curves, summarise
from benchmarks.time_to_loss.runs import Store, make_run
from benchmarks.time_to_loss.times import read_times, time_steps
from benchmarks.training.datasets import load_dataset
from benchmarks.training.recipe import Recipe, add_recipe, read_recipe
from benchmarks.training.settings import split_list

_RESULTS = ROOT / "benchmarks" / "results" / "time_to_loss"


def train(
    store: Store,
    contenders: Sequence[Contender],
    seeds: int,
    recipe: Recipe,
    deadline: float,
) -> None:
    """Makes the runs that are missing, seed by seed, as long as there is time."""
    dataset = load_dataset(recipe.data, recipe.images)
    print(f"{recipe.model} on {dataset}")
    runs = [(contender, seed) for seed in range(seeds) for contender in contenders]
    with lock(store.machine_lock, shared=True) as held:
        if not held:
            raise ValueError("a --time is running here: train when it has ended")
        for contender, seed in runs:
            path = store.checkpoint(contender, seed)
            with lock(path.with_name(f"{path.name}.lock")) as mine:
                if not mine or store.has(contender, seed):
                    continue
                if time.monotonic() >= deadline:
                    print("There is no time left.")
                    return
                print(f"{contender}, seed {seed}", flush=True)
                make_run(store, contender, seed, recipe, dataset)


def check_recipe(path: Path, recipe: Recipe) -> None:
    """Keeps the recipe beside the results, or compares it with that of the others.

    Raises:
        ValueError: If the results are of another recipe.
    """
    values = dataclasses.asdict(recipe)
    del values["batch"]
    if not path.exists():
        path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    for name, value in values.items():
        if found.get(name) != value:
            raise ValueError(
                f"{path} has {name}={found.get(name)!r}, not {value!r}: name another "
                "folder, or repeat the arguments"
            )


def make_arguments() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    add_recipe(
        parser,
        model="resnet18_half",
        data="fashion_mnist",
        images=20_000,
        epochs=8,
        augment=True,
    )
    add_threads(parser)
    add = parser.add_argument
    add("--seeds", type=at_least(1), default=3, help="runs of each contender")
    add("--contenders", type=split_list, default=list(DEFAULTS), help="what to compare")
    add("--only", default="", help="regular expression that a contender must match")
    add("--minutes", type=at_least(0, float), default=math.inf, help="time in all")
    add("--time", action="store_true", help="time steps instead of training")
    add("--steps", type=at_least(2), default=10, help="timed steps of each")
    add("--results", type=Path, default=_RESULTS, help="folder of the results")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_arguments()
    args = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * args.minutes
    recipe = read_recipe(args)
    try:
        contenders = [
            Contender.parse(text, args.model)
            for text in args.contenders
            if re.search(args.only, text)
        ]
        store = Store(args.results, args.model)
        check_recipe(store.recipe_path, recipe)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    set_threads(args.threads)
    if args.time:
        full = [Contender("full", x.batch) for x in contenders]
        time_steps(
            store,
            list(dict.fromkeys([*full, *contenders])),
            args.seeds,
            recipe,
            load_dataset(recipe.data, recipe.images),
            args.steps,
            measure_machine(args.threads),
        )
    else:
        train(store, contenders, args.seeds, recipe, deadline)
    report(store)


def report(store: Store) -> None:
    """Prints the table and draws the picture of what was trained and timed."""
    found = curves(store.points(), read_times(store.times_path))
    if not found:
        print("Nothing is both trained and timed yet.")
        return
    print(f"\n{format_summaries(summarise(found))}")
    path = store.path.with_suffix(".png")
    draw(found, f"{store.network}, means over seeds", path)
    print(f"\nWritten: {path}")


if __name__ == "__main__":
    main()
