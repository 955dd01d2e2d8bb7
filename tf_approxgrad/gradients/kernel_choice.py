"""The choice among the kernels of exact gradients on a CPU.

It depends on sizes, dtype and processor alone, so that `conversion_report` can name the
kernel before training.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path

from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.methods import ExactGradient, FullGradient, GradientMethod

DENSE, WINOGRAD, POSITIONS = "dense", "winograd", "positions"

# Types of lower precision are computed in float32.
_WINOGRAD_DTYPES = ("float32", "bfloat16", "float16")
# The transforms cost as much as they save at about 1 / (1/Ci + 1/Co) = 5.
_LEAST_CHANNELS = 6
# With fewer tiles, the input gradient's transform of the filters takes longer than it
# saves.
_LEAST_TILES = 16
# Positions of an output map, and the share of its patches that isn't padding, up to
# which the kernel of `MaxGradient`, which leaves padding out, is faster than dense.
_MOST_POSITIONS = 4
_MOST_INSIDE = 0.5


@dataclasses.dataclass(frozen=True)
class ConvolutionSizes:
    """The sizes of a convolution, as far as they are known before it runs.

    Attributes:
        input: Shape of X, `None` for unknown sizes.
        filters: `KH, KW, Ci, Co`, `None` for unknown sizes.
        arguments: Strides, padding, layout and dilations.
        dtype: Name of the dtype.
    """

    input: tuple[int | None, ...]
    filters: tuple[int | None, ...]
    arguments: ConvArguments
    dtype: str

    def kernel_of(self, method: GradientMethod, of_input: bool = False) -> str:
        """The kernel that computes an exact method's gradient on a CPU.

        Args:
            method: An exact method.
            of_input: Whether the gradient is that of the input.

        Returns:
            `"dense"` for TensorFlow's op, `"winograd"` or `"positions"`.
        """
        if isinstance(method, FullGradient) or None in self.filters:
            return DENSE
        if self._winograd_pays(of_input):
            return WINOGRAD
        is_free = isinstance(method, ExactGradient) and not of_input
        return POSITIONS if is_free and self._positions_pay() else DENSE

    def _winograd_pays(self, of_input: bool) -> bool:
        rows, cols, *channels = map(int, self.filters)  # type: ignore[arg-type]
        if (
            (rows, cols) != (3, 3)
            or max(*self.arguments.strides, *self.arguments.dilations) > 1
            or self.dtype not in _WINOGRAD_DTYPES
            or (self.dtype == "bfloat16" and has_bfloat16_matrices())
            or min(channels) == 0
            or 1 / (1 / channels[0] + 1 / channels[1]) < _LEAST_CHANNELS
        ):
            return False
        sizes = [axis.outputs for axis in self._axes()]
        # A single row or column gains nothing in its direction.
        if any(size is not None and size < 2 for size in sizes):
            return False
        tiles = [None if size is None else -(-size // 4) for size in sizes]
        known = [size for size in (self.input[0], *tiles) if size is not None]
        return not of_input or len(known) < 3 or math.prod(known) >= _LEAST_TILES

    def _positions_pay(self) -> bool:
        axes = self._axes()
        if any(axis.outputs is None for axis in axes):
            return False
        positions = math.prod(axis.outputs or 0 for axis in axes)
        inside = math.prod(axis.inside for axis in axes)
        return 0 < positions <= _MOST_POSITIONS and inside <= _MOST_INSIDE

    def _axes(self) -> list[_Axis]:
        spatial = [i for i in (1, 2, 3) if i != self.arguments.channel_axis]
        return [
            _Axis.of(
                self.input[axis],
                self.filters[number] or 0,
                self.arguments.strides[axis],
                self.arguments.dilations[axis],
                self.arguments.padding_of(axis),
            )
            for number, axis in enumerate(spatial)
        ]


@functools.cache
def has_bfloat16_matrices() -> bool:
    """Whether the processor multiplies bfloat16 matrices many times as fast as float32.

    It does with AMX. TensorFlow's ops use that.
    """
    information = Path("/proc/cpuinfo")
    return information.exists() and "amx_bf16" in information.read_text()


@dataclasses.dataclass(frozen=True)
class _Axis:
    """A convolution along one axis.

    Attributes:
        outputs: Number of output positions; `None` if unknown.
        inside: Share of the taps that don't lie in the padding.
    """

    outputs: int | None
    inside: float

    @classmethod
    def of(
        cls,
        size: int | None,
        taps: int,
        stride: int,
        dilation: int,
        padding: tuple[int, int] | None,
    ) -> _Axis:
        if size is None:
            return cls(None, 1.0)
        extent = (taps - 1) * dilation + 1
        if padding is None:
            outputs = -(-size // stride)
            before = max((outputs - 1) * stride + extent - size, 0) // 2
        else:
            before = padding[0]
            outputs = max((size + sum(padding) - extent) // stride + 1, 0)
        inside = sum(
            0 <= position * stride + tap * dilation - before < size
            for position in range(outputs)
            for tap in range(taps)
        )
        return cls(outputs, inside / max(outputs * taps, 1))
