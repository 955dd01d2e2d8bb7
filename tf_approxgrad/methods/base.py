"""The base class of the gradient methods, and checks of their settings."""

import abc
import dataclasses
import numbers
from typing import Any, ClassVar, TypeVar

from tf_approxgrad.utils.checks import check_finite, check_integer

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

Method = TypeVar("Method", bound="GradientMethod")


class GradientMethod(abc.ABC):
    """How the filter gradient of one layer is computed at one step.

    Base class of all methods. A method is a frozen dataclass whose fields are its
    settings, each with a default. Equality, hash, `get_config` and `label` follow from
    the fields. To add a method, subclass this and call
    `tf_approxgrad.register_filter_gradient`.

    Example:

    >>> import tf_approxgrad as tfag
    >>> method = tfag.MaxGradient(k=4)
    >>> method == tfag.MaxGradient.from_config(method.get_config())
    True
    >>> method.label
    'max(k=4)'
    """

    # Whether the result is the exact gradient, up to rounding.
    is_exact: ClassVar[bool] = False
    # Whether the result depends on the training step.
    needs_step: ClassVar[bool] = False
    # Whether XLA can compile the method. Keras trains a model without XLA if a layer
    # uses a method that XLA can't compile.
    supports_jit: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The method's name, as accepted wherever a method is."""

    @property
    def label(self) -> str:
        """Short text for tables and logs: the name and the changed settings.

        For example "full", "max", "max(k=4)" or "random(stddev=0.5, seed=3)".
        """
        config = self.get_config()
        changed = [
            f"{field.name}={config[field.name]!r}"
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if config[field.name] != field.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as JSON values."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_config(cls: type[Method], config: dict[str, Any]) -> Method:
        """Builds a method from the result of `get_config`.

        Args:
            config: The constructor's arguments by name.

        Returns:
            A method equal to the one described.

        Raises:
            TypeError, ValueError: As for the constructor.
        """
        return cls(**config)


def check_k(k: Any) -> int | float:
    """Returns `k` as an int, or as a float if it is a share, or raises."""
    allowed = "an integer >= 1 or a float greater than 0 and less than 1"
    if isinstance(k, numbers.Integral) and not isinstance(k, bool) and int(k) > 0:
        # The upper limit is that of the operation's int64 attribute.
        return check_integer("k", k, 1, INT64_MAX)
    share = check_finite("k", k, allowed)
    if not 0 < share < 1:
        raise ValueError(f"k must be {allowed}, got {k!r}")
    return share


def check_share(share: Any) -> float:
    """A share as a float, greater than 0 and at most 1; raises otherwise."""
    allowed = "a number greater than 0 and at most 1"
    number = check_finite("share", share, allowed)
    if not 0 < number <= 1:
        raise ValueError(f"share must be {allowed}, got {share!r}")
    return number


def check_scale(scale: Any) -> float | str:
    """Returns `scale` as a float, or unchanged if it is "batch", or raises."""
    allowed = '"batch" (1/N) or a finite number'
    if not isinstance(scale, str):
        return check_finite("scale", scale, allowed)
    if scale != "batch":
        raise ValueError(f"scale must be {allowed}, got {scale!r}")
    return scale
