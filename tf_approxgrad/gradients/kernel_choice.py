"""The choice among the kernels of exact gradients on a CPU.

It depends on sizes, dtype and processor alone, so that `conversion_report` can name the
kernel before training.
"""

from __future__ import annotations

import dataclasses
import math

from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.methods import ExactGradient, FullGradient, GradientMethod
from tf_approxgrad.utils.machine import cpu_flags

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
        may_take_positions = isinstance(method, ExactGradient) and not of_input
        return POSITIONS if may_take_positions and self._positions_pay() else DENSE

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
        if self.arguments.needs_decomposition or None in [x.outputs for x in axes]:
            return False
        positions = math.prod(axis.outputs or 0 for axis in axes)
        return (
            0 < positions <= _MOST_POSITIONS
            and math.prod(axis.share_inside() for axis in axes) <= _MOST_INSIDE
        )

    def _axes(self) -> list[_Axis]:
        spatial = [i for i in (1, 2, 3) if i != self.arguments.channel_axis]
        return [
            _Axis(
                self.input[axis],
                self.filters[number] or 0,
                self.arguments.strides[axis],
                self.arguments.dilations[axis],
                self.arguments.padding_of(axis),
            )
            for number, axis in enumerate(spatial)
        ]


def has_bfloat16_matrices() -> bool:
    """Whether the processor multiplies bfloat16 matrices many times as fast as float32.

    It does with AMX. TensorFlow's ops use that.
    """
    return "amx_bf16" in cpu_flags()


@dataclasses.dataclass(frozen=True)
class _Axis:
    """A convolution along one axis: sizes, and the zeros before and after if known."""

    size: int | None
    taps: int
    stride: int
    dilation: int
    padding: tuple[int, int] | None

    @property
    def outputs(self) -> int | None:
        """Number of output positions; `None` if unknown."""
        if self.size is None:
            return None
        if self.padding is None:
            return -(-self.size // self.stride)
        room = self.size + sum(self.padding) - self._extent
        return max(room // self.stride + 1, 0)

    @property
    def _extent(self) -> int:
        return (self.taps - 1) * self.dilation + 1

    def share_inside(self) -> float:
        """Share of the taps, at all positions, that don't lie in the padding."""
        assert self.size is not None and self.outputs is not None
        before = 0 if self.padding is None else self.padding[0]
        if self.padding is None:
            reach = (self.outputs - 1) * self.stride + self._extent
            before = max(reach - self.size, 0) // 2
        inside = sum(
            0 <= position * self.stride + tap * self.dilation - before < self.size
            for position in range(self.outputs)
            for tap in range(self.taps)
        )
        return inside / max(self.outputs * self.taps, 1)
