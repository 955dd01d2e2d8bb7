"""The convolutions of the benchmarks: the paper's Table 1 and two ResNets'."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from benchmarks.machine import Machine


@dataclasses.dataclass(frozen=True)
class Shape:
    """A convolution with SAME padding on square images.

    Attributes:
        group: What it is counted with.
        batch: Examples.
        in_channels: Channels of X.
        out_channels: Channels of dY.
        size: Rows and columns of X.
        filter: Rows and columns of the filter.
        stride: Of rows and columns.
        paper: The paper's speed-up of its kernel over cuDNN, with its transposes; NaN
          where it has none.
    """

    group: str
    batch: int
    in_channels: int
    out_channels: int
    size: int
    filter: int = 3
    stride: int = 1
    paper: float = math.nan

    def __str__(self) -> str:
        channels = f"{self.in_channels}->{self.out_channels}"
        return (
            f"{self.batch}x{self.size}x{self.size} {channels} "
            f"{self.filter}x{self.filter}/{self.stride}"
        )

    @property
    def out_size(self) -> int:
        return -(-self.size // self.stride)

    def bound_seconds(self, k: int, element_bytes: int, machine: Machine) -> float:
        """The least time that `machine` needs for max with `k` positions."""
        taps = self.filter**2 * self.in_channels
        elements = self.batch * self.size**2 * self.in_channels
        elements += self.batch * self.out_size**2 * self.out_channels
        elements += taps * self.out_channels
        kept = self.batch * self.out_channels * min(k, self.out_size**2)
        return max(
            elements * element_bytes / machine.bytes_per_second,
            kept * taps / machine.multiply_adds_per_second,
        )

    @property
    def dense_work(self) -> int:
        """Multiply-adds of the exact gradient."""
        positions = self.batch * self.out_size**2
        return positions * self.filter**2 * self.in_channels * self.out_channels


SHAPES = (
    *(
        Shape("table 1", 128, channels, channels, size, paper=paper)
        for channels, size, paper in (
            (256, 8, 1.7),
            (128, 16, 3.2),
            (512, 4, 0.8),
            (512, 2, 10.4),
            (64, 32, 5.2),
            (16, 32, 4.2),
            (32, 16, 4.0),
            (64, 8, 3.7),
        )
    ),
    *(
        Shape("ResNet-50 3x3", 32, channels, channels, size)
        for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7))
    ),
    *(
        Shape("ResNet-50 stride 2", 32, channels, channels, size, stride=2)
        for channels, size in ((128, 56), (256, 28), (512, 14))
    ),
    *(
        Shape("ResNet-50 1x1", 32, inside, outside, size, filter=1)
        for inside, outside, size in (
            (64, 64, 56),
            (64, 256, 56),
            (256, 64, 56),
            (512, 128, 28),
            (128, 512, 28),
            (1024, 256, 14),
            (256, 1024, 14),
            (2048, 512, 7),
            (512, 2048, 7),
        )
    ),
    Shape("ResNet-50 stem", 32, 3, 64, 224, filter=7, stride=2),
)

RESNET18_HALF = (
    *(
        Shape("ResNet-18 half 3x3", 128, channels, channels, size)
        for channels, size in ((32, 28), (64, 14), (128, 7), (256, 4))
    ),
    *(
        Shape("ResNet-18 half stride 2", 128, channels, 2 * channels, size, stride=2)
        for channels, size in ((32, 28), (64, 14), (128, 7))
    ),
)


def shapes_with(part: str, shapes: Iterable[Shape]) -> list[Shape]:
    """Those of the shapes whose group and text hold a part."""
    return [shape for shape in shapes if part in f"{shape.group} {shape}"]
