"""Decisions about the methods of layers while training, and their file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from tf_approxgrad import methods as gradient_methods
from tf_approxgrad.methods import GradientMethod
from tf_approxgrad.utils.files import write_whole


@dataclasses.dataclass(frozen=True)
class Decision:
    """Methods from a training step on.

    Attributes:
        step: The step.
        methods: Methods of the layers that aren't exact, by layer index.
        speed_up: Predicted speed-up over exact gradients by the fastest kernels.
        tau: Extra variance over the minibatch variance.
    """

    step: int
    methods: Mapping[int, GradientMethod]
    speed_up: float
    tau: float

    @property
    def net(self) -> float:
        """Net gain, `speed_up / (1 + tau)`."""
        return self.speed_up / (1 + self.tau)


def write_decisions(path: Path, decisions: Sequence[Decision]) -> None:
    """Writes decisions to a JSON file, as a whole."""
    records = [
        {
            "step": decision.step,
            "methods": {
                str(index): keras.saving.serialize_keras_object(method)
                for index, method in decision.methods.items()
            },
            "speed_up": decision.speed_up,
            "tau": decision.tau,
        }
        for decision in decisions
    ]
    write_whole(path, json.dumps(records, indent=1))


def read_decisions(path: Path, allowed: Sequence[GradientMethod]) -> list[Decision]:
    """Reads decisions from the file of `write_decisions`; none if there is no file.

    Args:
        path: Path of the file.
        allowed: Methods that they may have.

    Raises:
        ValueError: If it is another file, or holds other methods.
    """
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(records, list):
            raise TypeError("it holds no list")
        decisions = [
            Decision(
                int(record["step"]),
                {
                    int(index): gradient_methods.get(config)
                    for index, config in record["methods"].items()
                },
                float(record["speed_up"]),
                float(record["tau"]),
            )
            for record in records
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"path={str(path)!r} must be a file of AdaptivePlan's decisions, or a new "
            f"one: {error}"
        ) from error
    for decision in decisions:
        for method in decision.methods.values():
            if method not in allowed:
                raise ValueError(
                    f"path={str(path)!r} holds {method!r}, which isn't one of methods: "
                    "pass the methods of the run that wrote it, or a new path."
                )
    return decisions
