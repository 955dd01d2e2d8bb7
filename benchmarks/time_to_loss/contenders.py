"""The ways to train that are compared, and the models that they train.

A contender is written WAY/BATCH, such as "exact/96". Ways are

- full: TensorFlow's gradients,
- exact: exact gradients by the fastest kernels,
- bfloat16: TensorFlow's gradients under Keras' mixed_bfloat16 policy,
- adaptive: `AdaptivePlan`,
- fixed: the last decision of adaptive/BATCH with the same seed, from the first step on,
- anything that benchmarks/training/settings.py reads, such as "zero@schedule1@exact".
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras

import tf_approxgrad as tfag
from benchmarks.training import recipe as recipes
from benchmarks.training.recipe import Recipe
from benchmarks.training.settings import Setting, parse
from tf_approxgrad.planning.decisions import Decision, read_decisions

# What a user would take, ours, and the paper's; the most telling first.
DEFAULTS = (
    "exact/128",
    "exact/64",
    "exact/32",
    "adaptive/128",
    "exact/96",
    "exact/48",
    "fixed/128",
    "row-sampled:share=0.5:probability=product:keep_largest=True@constant@exact/128",
    "row-sampled:share=0.25:probability=product:keep_largest=True@constant@exact/128",
    "zero@schedule1/128",
    "max@schedule1/128",
    "random@schedule1/128",
)
_EXACT = "exact@constant@exact"
# Steps of a custom loop between decisions: none is made while steps are timed.
_NEVER = 10**9


@dataclasses.dataclass(frozen=True)
class Contender:
    """A way to train, and its batch size."""

    way: str
    batch: int

    @classmethod
    def parse(cls, text: str, network: str) -> Contender:
        """Reads "WAY/BATCH".

        Raises:
            ValueError: If there is no such contender.
        """
        way, _, batch = text.rpartition("/")
        if not (batch.isdecimal() and int(batch) > 0):
            raise ValueError(f"contender {text!r} must be WAY/BATCH, such as exact/96")
        contender = cls(way, int(batch))
        contender.setting(network, seed=0)
        return contender

    def __str__(self) -> str:
        return f"{self.way}/{self.batch}"

    @property
    def adapts(self) -> bool:
        """Whether `AdaptivePlan` decides while it trains."""
        return self.way == "adaptive"

    def setting(self, network: str, seed: int) -> Setting:
        """What is converted before the model is compiled."""
        if self.way in ("adaptive", "bfloat16", "fixed", "full"):
            return parse("full", network, seed)
        return parse(_EXACT if self.way == "exact" else self.way, network, seed)

    def model(
        self,
        recipe: Recipe,
        seed: int,
        image_shape: tuple[int, int, int],
        steps_per_epoch: int,
        decisions: Path,
    ) -> keras.Model:
        """Builds and compiles the model.

        Args:
            recipe: How it is trained.
            seed: Fixes the initial weights and the methods that draw.
            image_shape: Shape of an image.
            steps_per_epoch: Steps of an epoch, which the learning rate follows.
            decisions: File of the decisions of adaptive/BATCH.
        """
        policy = "mixed_bfloat16" if self.way == "bfloat16" else "float32"
        keras.config.set_dtype_policy(policy)
        try:
            model = recipes.make_model(
                recipe,
                self.setting(recipe.model, seed),
                seed,
                image_shape,
                steps_per_epoch,
            )
        finally:
            keras.config.set_dtype_policy("float32")
        if self.adapts:
            tfag.approximate_gradients(model)
        elif self.way == "fixed":
            schedule = _fixed(decisions, len(tfag.conversion_report(model).rows))
            tfag.approximate_gradients(model, schedule, input_gradient="exact")
            tfag.bind_step(model, model.optimizer.iterations)
        return model


def follow(model: keras.Model, decisions: Path, step: int) -> None:
    """Lets the layers of a model for "adaptive" follow what was decided at a step."""
    model.optimizer.iterations.assign(step)
    tfag.AdaptivePlan(every=_NEVER, path=decisions).attach(model)


def decisions_of(path: Path) -> list[Decision]:
    """The decisions that `AdaptivePlan` wrote to a file."""
    return read_decisions(path, tfag.AdaptivePlan().methods)


def _fixed(path: Path, layers: int) -> tfag.Schedule:
    """The last decision of a file, as a schedule of so many layers."""
    found = decisions_of(path)
    if not found:
        raise ValueError(
            f"contender 'fixed' follows {str(path)!r}, which is missing: run adaptive "
            "with the same batch and seed first"
        )
    methods = found[-1].methods
    exact = tfag.ExactGradient()
    return tfag.TableSchedule(
        [[methods.get(index, exact)] for index in range(1, layers + 1)]
    )
