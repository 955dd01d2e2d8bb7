r"""Measures how close each method's gradients are, before and after some training.

    python -m benchmarks.training.fidelity --model=resnet20 --data=fashion_mnist \
        --images=20000 --epochs=1 --output=runs/fidelity

--gradient=input measures input gradients, and --gradient=propagated what their errors
make of the filter gradients of earlier layers. Tables are printed, and written as CSV
with a picture of the cosine beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tf_approxgrad as tfag
from benchmarks.arguments import at_least, make_parser
from benchmarks.training.batches import BatchMaker
from benchmarks.training.datasets import load_dataset
from benchmarks.training.loop import Training
from benchmarks.training.recipe import add_recipe, read_recipe

METHODS = (
    tfag.ZeroGradient(),
    tfag.RandomGradient(),
    *(tfag.MaxGradient(k=k, scale=1.0) for k in (1, 4)),
    *(tfag.SampledGradient(k=k) for k in (1, 4)),
    *(tfag.RowSampledGradient(share=share) for share in (1 / 16, 1 / 8, 1 / 4)),
    tfag.RowSampledGradient(share=0.5, probability="product", keep_largest=True),
)
GRADIENTS = ("filter", "input", "propagated")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_recipe(parser, model="resnet20", epochs=1)
    add = parser.add_argument
    add("--gradient", choices=GRADIENTS, default="filter", help="what is measured")
    add("--repeats", type=at_least(0), default=10, help="how often a time is measured")
    add("--output", type=Path, default=Path("runs/fidelity"), help="folder")
    args = parser.parse_args(arguments)
    recipe = read_recipe(args)
    dataset = load_dataset(recipe.data, recipe.images)
    batches = BatchMaker(dataset, recipe.batch, seed=0, augment=False)
    x, y = next(iter(batches.training(0)))
    training = Training(["full"], recipe, dataset, seed=0)
    args.output.mkdir(parents=True, exist_ok=True)
    for name in ("before", "after"):
        if name == "after":
            training.train()
        report = tfag.fidelity(
            training.runs[0].model,
            x,
            y,
            METHODS,
            gradient=args.gradient,
            repeats=args.repeats,
        )
        print(report)
        report.to_csv(args.output / f"{name}.csv")
        picture = report.plot("cosine").figure
        picture.savefig(args.output / f"{name}.png", dpi=150)


if __name__ == "__main__":
    main()
