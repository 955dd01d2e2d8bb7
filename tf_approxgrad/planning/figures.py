"""What a plan has measured."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tf_approxgrad import methods
from tf_approxgrad.methods import GradientMethod


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """A layer's method, with what was measured.

    Attributes:
        name: Name of the layer.
        filters: Shape of its filters.
        method: Its method.
        kernel: The method's name, with the kernel of an exact one, and the share of one
            that samples.
        full_ms: Time of both gradients in a step by TensorFlow's ops, in milliseconds.
            All times are 0 for a layer that wasn't measured.
        exact_ms: The same by the faster of TensorFlow's ops and `ExactGradient`.
        ms: The same by `method`.
        tau: Extra variance, as the layer's part of the plan's.
        reason: Why the method was chosen.
    """

    name: str
    filters: tuple[int, ...]
    method: GradientMethod
    kernel: str
    full_ms: float
    exact_ms: float
    ms: float
    tau: float
    reason: str

    def get_config(self) -> dict[str, Any]:
        return {
            field.name: keras.saving.serialize_keras_object(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LayerPlan:
        config = dict(config)
        config["filters"] = tuple(
            keras.saving.deserialize_keras_object(config["filters"])
        )
        config["method"] = methods.get(config["method"])
        return cls(**config)


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class Alternative:
    """What a user could do instead of following a plan.

    Attributes:
        name: What.
        speed_up: How many times as fast a step is; 0 if it has none.
        tau: Extra variance over that of the plan's minibatch.
        note: What to know about it, or why it has no speed-up.
    """

    name: str
    speed_up: float
    tau: float = 0.0
    note: str = ""

    @property
    def net(self) -> float:
        """`speed_up / (1 + tau)`."""
        return self.speed_up / (1 + self.tau)

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Alternative:
        return cls(**config)


@dataclasses.dataclass(frozen=True)
class PlanFigures:
    """The figures of a `Plan`, which documents them."""

    model_name: str
    layers: tuple[LayerPlan, ...]
    batch_size: int
    full_step_ms: float
    exact_step_ms: float
    predicted_step_ms: float
    speed_up: float
    tau: float
    max_extra_variance: float
    counts_by_layer: bool
    noise_batch: float
    curve: tuple[tuple[float, float], ...]
    alternatives: tuple[Alternative, ...]
    machine: str
    verdict: str

    @property
    def net(self) -> float:
        """Net gain, `speed_up / (1 + tau)`."""
        return self.speed_up / (1 + self.tau)

    @property
    def predicted_speed_up(self) -> float:
        """The speed-up that the layers' times add up to."""
        return self.full_step_ms / self.predicted_step_ms

    @property
    def effective_batch(self) -> float:
        """The batch size of exact training that is as noisy, B / (1 + tau)."""
        return self.batch_size / (1 + self.tau)


def filters_of(layer: Any) -> Any:
    """The weight of a convolution whose gradient methods compute; `None` if unknown."""
    is_separable = isinstance(layer, keras.layers.SeparableConv2D)
    return getattr(layer, "pointwise_kernel" if is_separable else "kernel", None)


def filters_shape(layer: Any) -> tuple[int, ...]:
    """Shape of the filters whose gradient methods compute; empty if unknown."""
    weight = filters_of(layer)
    return () if weight is None else tuple(weight.shape)
