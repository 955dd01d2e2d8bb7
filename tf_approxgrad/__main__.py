"""The command line: `python -m tf_approxgrad plan model.keras data.npz`."""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Sequence

import keras
import numpy as np

import tf_approxgrad as tfag
from tf_approxgrad.utils.plotting import import_pyplot


def _plan(args: argparse.Namespace) -> None:
    """Prints the plan of a saved model on saved data."""
    if args.plot:
        import_pyplot()
    model = keras.saving.load_model(args.model)
    with np.load(args.data) as file:
        missing = {"x", "y"} - set(file.files)
        if missing:
            raise ValueError(
                f"{args.data} must hold arrays named x and y, as "
                "numpy.savez(path, x=x, y=y) writes them, but has "
                f"{', '.join(file.files) or 'none'}."
            )
        x, y = file["x"], file["y"]
        weights = file["sample_weight"] if "sample_weight" in file.files else None
    plan = tfag.plan(
        model,
        x,
        y,
        batch_size=args.batch_size,
        loss=args.loss,
        sample_weight=weights,
        max_extra_variance=args.max_extra_variance,
        verbose=sys.stderr.isatty(),
    )
    print(plan)
    if args.json:
        plan.to_json(args.json)
    if args.csv:
        plan.to_csv(args.csv)
    if args.plot:
        plan.plot()
        import_pyplot().savefig(args.plot)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
        arguments: The arguments; `None` means those of the program.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tf_approxgrad", description="Faster gradients for CNNs."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser(
        "plan",
        help="measure a model and choose its gradient methods",
        description="Measures a saved Keras model on your data and prints the plan.",
    )
    add = command.add_argument
    add("model", help="file of the model, such as model.keras")
    add("data", help=".npz file with arrays x and y, and maybe sample_weight")
    add("--batch-size", type=int, help="examples of a minibatch; by default 32")
    add("--loss", help="name of a loss, if the model isn't compiled")
    add(
        "--max-extra-variance",
        type=float,
        default=0.05,
        help="bound of the extra variance; by default 0.05",
    )
    add("--json", help="file to write the plan to, for Plan.from_json")
    add("--csv", help="file to write a line for each layer to")
    add("--plot", help="file to write the picture to, such as plan.png")
    command.set_defaults(run=_plan)
    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except (ImportError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
