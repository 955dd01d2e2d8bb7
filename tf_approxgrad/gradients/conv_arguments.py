"""The arguments of a convolution, checked and in canonical form."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_SPATIAL_AXES = {"NHWC": (1, 2), "NCHW": (2, 3)}


@dataclasses.dataclass(frozen=True)
class ConvArguments:
    """Strides, padding, layout and dilations of a convolution, as of TensorFlow's ops.

    Attributes:
        strides: Four integers in the order of `data_format`.
        padding: `"SAME"`, `"VALID"` or `"EXPLICIT"`.
        explicit_paddings: Eight integers if `padding` is `"EXPLICIT"`, else none.
        data_format: `"NHWC"` or `"NCHW"`.
        dilations: Four integers in the order of `data_format`.
    """

    strides: tuple[int, ...]
    padding: str
    explicit_paddings: tuple[int, ...]
    data_format: str
    dilations: tuple[int, ...]

    @classmethod
    def parse(
        cls, strides: Any, padding: Any, data_format: Any, dilations: Any
    ) -> ConvArguments:
        """Parses the arguments of `tf.nn.conv2d`.

        Raises:
            ValueError: If an argument isn't allowed.
        """
        data_format = data_format or "NHWC"
        if data_format not in _SPATIAL_AXES:
            raise ValueError(
                f"data_format={data_format!r} must be one of 'NHWC' and 'NCHW'."
            )
        padding_name, explicit_paddings = _parse_padding(padding, data_format)
        return cls(
            strides=_parse_per_axis("strides", strides, data_format),
            padding=padding_name,
            explicit_paddings=explicit_paddings,
            data_format=data_format,
            dilations=_parse_per_axis(
                "dilations", 1 if dilations is None else dilations, data_format
            ),
        )

    @property
    def channel_axis(self) -> int:
        return 3 if self.data_format == "NHWC" else 1

    @property
    def needs_decomposition(self) -> bool:
        """Whether the convolution is computed by several of TensorFlow's ops.

        TensorFlow lacks CPU kernels for the gradients of dilated convolutions of some
        dtypes, and for explicit padding of channels-first tensors. `tf.nn.convolution`
        rearranges the input for a convolution without dilation. It doesn't support
        strides together with dilations.
        """
        is_dilated = max(self.dilations) > 1
        if is_dilated and max(self.strides) > 1:
            return False
        return is_dilated or (self.padding == "EXPLICIT" and self.data_format == "NCHW")

    def padding_of(self, axis: int) -> tuple[int, int] | None:
        """The zeros before and after an axis; `None` for `"SAME"`."""
        if self.padding == "SAME":
            return None
        before, after = self.explicit_paddings[2 * axis : 2 * axis + 2] or (0, 0)
        return before, after

    def channels_last(self) -> ConvArguments:
        """The arguments of the same convolution of channels-last tensors."""
        if self.data_format == "NHWC":
            return self

        def moved(values: tuple[int, ...]) -> tuple[int, ...]:
            size = len(values) // 4
            return values[:size] + values[2 * size :] + values[size : 2 * size]

        return ConvArguments(
            moved(self.strides),
            self.padding,
            moved(self.explicit_paddings),
            "NHWC",
            moved(self.dilations),
        )

    def for_op(self) -> dict[str, Any]:
        """The keyword arguments of a `tf.raw_ops` convolution."""
        return {
            **dataclasses.asdict(self),
            "strides": list(self.strides),
            "explicit_paddings": list(self.explicit_paddings),
            "dilations": list(self.dilations),
        }


def accumulator_dtype(dtype: tf.DType) -> tf.DType:
    """The dtype in which sums of elements of `dtype` are accumulated."""
    return tf.float64 if dtype == tf.float64 else tf.float32


def check_tensors(
    input: tf.Tensor,
    filter_sizes: Sequence[int | None],
    arguments: ConvArguments,
    out_backprop: tf.Tensor | None = None,
) -> None:
    """Checks that static shapes and dtypes are those of a convolution.

    Args:
        input: Input activations, `[N, H, W, Ci]` or `[N, Ci, H, W]`.
        filter_sizes: `KH, KW, Ci, Co`, `None` where unknown.
        arguments: The convolution's other arguments.
        out_backprop: Gradient of the output, in the layout of `input`.

    Raises:
        ValueError: If ranks, channels, batch sizes or dtypes don't match.
        TypeError: If the dtype isn't a supported floating-point type.
    """
    if input.dtype.name not in _DTYPES:
        raise TypeError(
            f"input has dtype={input.dtype.name}, but it must be one of "
            f"{', '.join(_DTYPES)}."
        )
    if len(filter_sizes) != 4:
        raise ValueError(
            f"filter_sizes={tuple(filter_sizes)}, the filters' shape, must have 4 "
            "elements: filter_height, filter_width, in_channels, out_channels."
        )
    tensors = {"input": input}
    channels = {"input": filter_sizes[2]}
    if out_backprop is not None:
        tensors["out_backprop"] = out_backprop
        channels["out_backprop"] = filter_sizes[3]
    for name, tensor in tensors.items():
        if tensor.shape.rank not in (4, None):
            raise ValueError(
                f"{name} has shape={tuple(tensor.shape)} of rank {tensor.shape.rank}, "
                f"but it must have rank 4, with the axes {arguments.data_format}."
            )
        if tensor.dtype != input.dtype:
            raise ValueError(
                f"{name} has dtype={tensor.dtype.name}, but it must have that of "
                f"input, {input.dtype.name}."
            )
        if tensor.shape.rank is None:
            continue
        found = tensor.shape[arguments.channel_axis]
        expected = channels[name]
        if None not in (found, expected) and found != expected:
            raise ValueError(
                f"{name} has {found} channels (shape={tuple(tensor.shape)}, "
                f"data_format={arguments.data_format!r}), but the filters' shape "
                f"{tuple(filter_sizes)} asks for {expected}; groups aren't supported."
            )


def _parse_per_axis(name: str, value: Any, data_format: str) -> tuple[int, ...]:
    """Strides or dilations as four integers in the order of `data_format`."""
    allowed = (
        f"{name}={value!r} must be an integer of at least 1, or a sequence of 1, 2 or "
        f"4 such integers (4: 1 along the batch and channel axes of {data_format})."
    )
    elements = _integers([value] if isinstance(value, numbers.Integral) else value)
    if elements is None or len(elements) not in (1, 2, 4) or min(elements) < 1:
        raise ValueError(allowed)
    rows, cols = _SPATIAL_AXES[data_format]
    if len(elements) == 4:
        if any(elements[axis] != 1 for axis in range(4) if axis not in (rows, cols)):
            raise ValueError(allowed)
        return elements
    per_axis = [1, 1, 1, 1]
    per_axis[rows], per_axis[cols] = elements[0], elements[-1]
    return tuple(per_axis)


def _parse_padding(padding: Any, data_format: str) -> tuple[str, tuple[int, ...]]:
    allowed = (
        f"padding={padding!r} must be 'SAME', 'VALID' or, for explicit padding, a "
        "list of 4 pairs [before, after] of integers of at least 0, one pair for each "
        f"axis of {data_format}, [0, 0] for the batch and channel axes."
    )
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(allowed)
        return padding, ()
    try:
        pairs = [_integers(pair) for pair in padding]
    except TypeError:
        raise ValueError(allowed) from None
    if len(pairs) != 4:
        raise ValueError(allowed)
    spatial = _SPATIAL_AXES[data_format]
    flat: list[int] = []
    for axis, pair in enumerate(pairs):
        if pair is None or len(pair) != 2 or min(pair) < 0:
            raise ValueError(allowed)
        if axis not in spatial and pair != (0, 0):
            raise ValueError(allowed)
        flat += pair
    return "EXPLICIT", tuple(flat)


def _integers(values: Any) -> tuple[int, ...] | None:
    """The values as Python integers, or `None` if they aren't integers."""
    if isinstance(values, (str, bytes)):
        return None
    try:
        elements = list(values)
    except TypeError:
        return None
    if any(
        isinstance(e, bool) or not isinstance(e, numbers.Integral) for e in elements
    ):
        return None
    return tuple(int(e) for e in elements)
