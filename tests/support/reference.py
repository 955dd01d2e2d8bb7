"""The slow float64 NumPy truth for the filter gradients, and problems to try it on.

Written from the mathematics alone and with none of the package's code, so that an
error in a kernel is not repeated here. Everything is computed in NHWC; NCHW arrays
are transposed on the way in. Shapes: X [N,H,W,Ci], dY [N,Ho,Wo,Co], dF
[KH,KW,Ci,Co]. A position p is the flattened (row, col) of dY, p = row*Wo + col.
"""

import dataclasses
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import tensorflow as tf
from philox import philox

# (top, bottom), (left, right)
Pads = tuple[tuple[int, int], tuple[int, int]]


def to_nhwc(array: np.ndarray, data_format: str) -> np.ndarray:
    return array.transpose(0, 2, 3, 1) if data_format == "NCHW" else array


def from_nhwc(array: np.ndarray, data_format: str) -> np.ndarray:
    return array.transpose(0, 3, 1, 2) if data_format == "NCHW" else array


def spatial_pads(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: str | Pads,
) -> Pads:
    """The zeros before and after each spatial dimension."""
    if padding == "VALID":
        return (0, 0), (0, 0)
    if padding != "SAME":
        return padding
    pads = []
    for size, taps, stride, dilation in zip(
        sizes, kernel, strides, dilations, strict=True
    ):
        outputs = -(-size // stride)
        reach = (taps - 1) * dilation + 1
        total = max((outputs - 1) * stride + reach - size, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def output_sizes(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Pads,
) -> tuple[int, int]:
    return tuple(
        (size + sum(pad) - (taps - 1) * dilation - 1) // stride + 1
        for size, taps, stride, dilation, pad in zip(
            sizes, kernel, strides, dilations, pads, strict=True
        )
    )


def patches(
    x: np.ndarray,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Pads,
) -> np.ndarray:
    """The input under the filter at every position: float64 [N, P, KH, KW, Ci]."""
    x = x.astype(np.float64)
    n, _, _, ci = x.shape
    ho, wo = output_sizes(x.shape[1:3], kernel, strides, dilations, pads)
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    result = np.empty((n, ho * wo, *kernel, ci))
    for row in range(ho):
        for col in range(wo):
            for kh in range(kernel[0]):
                for kw in range(kernel[1]):
                    result[:, row * wo + col, kh, kw] = padded[
                        :,
                        row * strides[0] + kh * dilations[0],
                        col * strides[1] + kw * dilations[1],
                    ]
    return result


def keep_largest(dy: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The positions that `max` keeps of one channel, dY [P], and their weights."""
    # Stable, so the lowest position comes first among equals.
    kept = np.argsort(-np.abs(dy), kind="stable")[:k]
    if len(kept) == 1:
        return kept, np.array([dy.sum()])
    rest = dy.sum() - dy[kept].sum()
    return kept, dy[kept] + rest / len(kept)


def uniform_numbers(
    count: int, seed: int, layer: int, step: int, bits: int
) -> np.ndarray:
    """The number in [0, 1) of each example and channel, n*Co + co, for `sampled`."""
    counter = np.zeros([count, 4], np.uint64)
    counter[:, 0] = np.arange(count)
    counter[:, 1:] = [layer, step % 2**32, step >> 32]
    words = philox((seed % 2**64) ^ (0x44524157 << 32), counter)
    whole = (words[:, 0] << np.uint64(32)) | words[:, 1]
    return (whole >> np.uint64(64 - bits)) * 2.0**-bits


def draw_in_proportion(dy: np.ndarray, k: int, u: float) -> np.ndarray:
    """The weight that `sampled` gives each position of one channel, dY [P]."""
    if k >= len(dy):
        return dy
    sums = np.cumsum(np.abs(dy))
    if sums[-1] == 0:
        return np.zeros(len(dy))
    with np.errstate(invalid="ignore"):
        draws = np.diff(np.floor(k * (sums / sums[-1]) + u), prepend=0.0)
        return draws * np.sign(dy) * sums[-1] / k


@dataclasses.dataclass(frozen=True)
class Problem:
    """One convolution: its sizes and how its values are drawn.

    Attributes:
        values: "normal" numbers; "integers" in -8..8, for which float32 sums are
            exact; "ties", integers in -2..2, so that every choice is between equals.
        padding: "SAME", "VALID", or the pads of explicit padding, in the form
            ((top, bottom), (left, right)).
    """

    kernel: tuple[int, int] = (3, 3)
    padding: str | Pads = "SAME"
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    n: int = 2
    size: tuple[int, int] = (9, 7)
    ci: int = 3
    co: int = 5
    data_format: str = "NHWC"
    dtype: str = "float32"
    values: str = "normal"

    @property
    def pads(self) -> Pads:
        return spatial_pads(
            self.size, self.kernel, self.strides, self.dilations, self.padding
        )

    @property
    def output_size(self) -> tuple[int, int]:
        return output_sizes(
            self.size, self.kernel, self.strides, self.dilations, self.pads
        )

    @property
    def positions(self) -> int:
        return self.output_size[0] * self.output_size[1]

    @property
    def filter_sizes(self) -> list[int]:
        return [*self.kernel, self.ci, self.co]

    def by_format(self, spatial: Sequence, outer: object) -> list:
        """Four entries in the order of `data_format` from two spatial ones."""
        if self.data_format == "NCHW":
            return [outer, outer, *spatial]
        return [outer, *spatial, outer]

    def arrays(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """X and dY, rounded to `dtype`, laid out as `data_format`."""
        rng = np.random.default_rng(seed)
        dtype = tf.as_dtype(self.dtype).as_numpy_dtype

        def draw(shape: Sequence[int]) -> np.ndarray:
            if self.values == "normal":
                numbers = rng.standard_normal(shape)
            else:
                limit = {"integers": 8, "ties": 2}[self.values]
                numbers = rng.integers(-limit, limit + 1, shape)
            return from_nhwc(numbers.astype(dtype), self.data_format)

        x = draw((self.n, *self.size, self.ci))
        return x, draw((self.n, *self.output_size, self.co))

    def function_arguments(self) -> dict:
        """The keywords of `tfag.conv2d` and `tfag.conv2d_backprop_filter`."""
        padding = self.padding
        if not isinstance(padding, str):
            padding = [list(pad) for pad in self.by_format(padding, (0, 0))]
        return {
            "strides": self.by_format(self.strides, 1),
            "padding": padding,
            "data_format": self.data_format,
            "dilations": self.by_format(self.dilations, 1),
        }

    def op_arguments(self) -> dict:
        """The attributes of TensorFlow's raw convolution ops, and of ours."""
        arguments = self.function_arguments()
        if not isinstance(self.padding, str):
            arguments["explicit_paddings"] = [
                zeros for pads in arguments["padding"] for zeros in pads
            ]
            arguments["padding"] = "EXPLICIT"
        return arguments

    def patches(self, x: np.ndarray) -> np.ndarray:
        nhwc = to_nhwc(x, self.data_format)
        return patches(nhwc, self.kernel, self.strides, self.dilations, self.pads)

    def channels(self, dy: np.ndarray) -> np.ndarray:
        """dY as float64 [N, P, Co]."""
        nhwc = to_nhwc(dy, self.data_format).astype(np.float64)
        return nhwc.reshape(self.n, self.positions, self.co)

    def dense_gradient(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """The exact filter gradient, in float64."""
        return np.tensordot(self.patches(x), self.channels(dy), ((0, 1), (0, 1)))

    def max_gradient(
        self, x: np.ndarray, dy: np.ndarray, k: int = 1, scale: float = 1.0
    ) -> np.ndarray:
        """What the method `max` makes of the filter gradient, in float64."""
        seen, channels = self.patches(x), self.channels(dy)
        result = np.zeros(self.filter_sizes)
        with np.errstate(invalid="ignore"):
            for n in range(self.n):
                for co in range(self.co):
                    kept, weights = keep_largest(channels[n, :, co], k)
                    result[..., co] += np.tensordot(weights, seen[n, kept], axes=1)
            return scale * result

    def max_error(
        self, x: np.ndarray, dy: np.ndarray, k: int = 1, scale: float = 1.0
    ) -> np.ndarray:
        """How far a right kernel may be from `max_gradient`, per element of dF.

        With u the accumulator's unit roundoff, A = sum_p |dY| of a channel and any
        order of summation, a sum of m terms is off by at most m*u times the sum of
        their magnitudes. So the channel's sum is off by P*u*A, the kept ones' sum by
        k*u*A, and a weight by (P + k + 4)*u*(|dY| + 2*A/k), where 4 covers the
        subtraction, division and addition. Products and their sum over the N*k kept
        patches add (N*k + 1)*u, the scale 3*u: it is rounded itself, and so is 1/N.
        The result is rounded once more, to dY's type. For float64 the reference is
        off by as much, hence twice the bound.
        """
        u = 2.0**-53 if self.dtype == "float64" else 2.0**-24
        k = min(k, self.positions)
        seen, channels = np.abs(self.patches(x)), np.abs(self.channels(dy))
        size = np.zeros(self.filter_sizes)
        for n in range(self.n):
            for co in range(self.co):
                one = channels[n, :, co]
                kept, _ = keep_largest(one, k)
                weights = one[kept] + 2 * one.sum() / k
                size[..., co] += np.tensordot(weights, seen[n, kept], axes=1)
        terms = self.positions + k + self.n * k + 8
        error = terms * u * abs(scale) * size
        return self.with_rounding(error, self.max_gradient(x, dy, k, scale))

    def sampled_gradient(
        self,
        x: np.ndarray,
        dy: np.ndarray,
        k: int = 1,
        scale: float = 1.0,
        seed: int = 0,
        step: int = 0,
        layer: int = 0,
    ) -> np.ndarray:
        """What the method `sampled` makes of the filter gradient, in float64."""
        channels = self.channels(dy)
        weights = self.drawn_weights(channels, k, seed, step, layer)
        with np.errstate(invalid="ignore"):
            return scale * np.tensordot(self.patches(x), weights, ((0, 1), (0, 1)))

    def sampled_error(
        self,
        x: np.ndarray,
        dy: np.ndarray,
        k: int = 1,
        scale: float = 1.0,
        seed: int = 0,
        step: int = 0,
        layer: int = 0,
    ) -> np.ndarray:
        """How far a right kernel may be from `sampled_gradient`, per element of dF.

        As `max_error`: the channel's sum is off by (P - 1)*u, its division by k by u,
        and the products and their sum by (N*k + 1)*u of their magnitudes, the scale by
        3*u. That another position is drawn because of it isn't allowed for: with the
        tests' few draws it doesn't happen.
        """
        u = 2.0**-53 if self.dtype == "float64" else 2.0**-24
        k = min(k, self.positions)
        draw = {"k": k, "seed": seed, "step": step, "layer": layer}
        weights = np.abs(self.drawn_weights(self.channels(dy), **draw))
        size = np.tensordot(np.abs(self.patches(x)), weights, ((0, 1), (0, 1)))
        error = (self.positions + self.n * k + 8) * u * abs(scale) * size
        exact = self.sampled_gradient(x, dy, scale=scale, **draw)
        return self.with_rounding(error, exact)

    def drawn_weights(
        self, channels: np.ndarray, k: int, seed: int, step: int, layer: int
    ) -> np.ndarray:
        bits = 53 if self.dtype == "float64" else 24
        u = uniform_numbers(self.n * self.co, seed, layer, step, bits)
        u = u.reshape(self.n, self.co)
        weights = np.empty(channels.shape)
        for n in range(self.n):
            for co in range(self.co):
                weights[n, :, co] = draw_in_proportion(channels[n, :, co], k, u[n, co])
        return weights

    def with_rounding(self, error: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """The accumulators' `error`, and that of the result's rounding to the type."""
        if self.dtype == "float64":
            return 2 * error
        info = ml_dtypes.finfo(tf.as_dtype(self.dtype).as_numpy_dtype)
        exact = np.abs(exact)
        # Below 2^-126 the CPU may round to zero, as TensorFlow sets it up to do.
        smallest = max(float(info.smallest_subnormal), 2.0**-126)
        return error + float(info.eps) / 2 * (exact + error) + smallest


def assert_gradient(
    actual: object, expected: np.ndarray, allowed: np.ndarray | float
) -> None:
    """Fails where `actual` differs from `expected` by more than `allowed`."""
    actual = np.asarray(actual).astype(np.float64)
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) - allowed
    assert np.all(excess <= 0), (
        f"{np.sum(~(excess <= 0))} of {excess.size} elements are off, "
        f"the worst by {np.nanmax(np.abs(actual - expected))}"
    )


GEOMETRIES = {
    "3x3": Problem(),
    "3x3 valid": Problem(padding="VALID", size=(8, 11), ci=1),
    "3x3 larger map": Problem(size=(19, 23), n=3, ci=2, co=3),
    "1x1": Problem(kernel=(1, 1), co=17),
    "1x1 strides": Problem(kernel=(1, 1), strides=(2, 3), ci=5, co=2),
    "5x3 strides": Problem(kernel=(5, 3), strides=(2, 1), size=(10, 7)),
    "5x3 dilated": Problem(
        kernel=(5, 3), padding="VALID", dilations=(1, 2), size=(11, 12)
    ),
    "5x3 all": Problem(
        kernel=(5, 3), strides=(3, 2), dilations=(2, 3), size=(12, 13), n=3
    ),
    "2x2": Problem(kernel=(2, 2), ci=17, co=3),
    "2x2 dilated": Problem(kernel=(2, 2), dilations=(3, 2), size=(8, 9)),
    "2x2 gaps": Problem(kernel=(2, 2), strides=(3, 3), padding="VALID", size=(11, 9)),
    "7x7 over the map": Problem(kernel=(7, 7), size=(4, 6), ci=2),
    "7x7 valid": Problem(
        kernel=(7, 7), padding="VALID", strides=(1, 2), size=(13, 12), n=1
    ),
    "explicit": Problem(padding=((1, 2), (0, 1)), strides=(1, 2)),
    "explicit one side": Problem(padding=((0, 0), (3, 0)), size=(7, 8)),
    "explicit beyond reach": Problem(padding=((4, 5), (6, 3)), size=(4, 5)),
    "1x1 mostly outside": Problem(
        kernel=(1, 1), padding=((3, 2), (1, 4)), size=(3, 2), co=7
    ),
    "explicit dilated": Problem(
        kernel=(2, 2), padding=((5, 0), (2, 6)), dilations=(3, 1), strides=(2, 1)
    ),
    "many output channels": Problem(ci=1, co=70, size=(6, 5)),
    "many input channels": Problem(ci=70, co=1, size=(5, 6)),
    "odd channels": Problem(ci=33, co=17, size=(6, 7)),
}
# One of each kind, for sweeps over types, layouts and settings. The kernels' own tests
# in cc/tests make those over all sizes.
SOME_GEOMETRIES = [
    "3x3",
    "1x1 strides",
    "5x3 all",
    "explicit dilated",
    "many output channels",
    "odd channels",
]
QUICK_GEOMETRIES = ["5x3 all", "explicit dilated", "odd channels"]
