"""Patches of a convolution's input, gathered and scattered by TensorFlow's ops."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_approxgrad.gradients.conv_arguments import ConvArguments


@dataclasses.dataclass(frozen=True)
class PatchGeometry:
    """Geometry of the input patches of a convolution, one patch per row of dY.

    Attributes:
        batch: N.
        in_sizes: H and W.
        out_sizes: Ho and Wo.
        kernel: KH and KW.
        strides, dilations: Those of the two spatial axes.
        before: Padding before the first element of each spatial axis.
    """

    batch: tf.Tensor
    in_sizes: tf.Tensor
    out_sizes: tf.Tensor
    kernel: tf.Tensor
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...] | tf.Tensor

    @classmethod
    def make(
        cls,
        input: tf.Tensor,
        filter_sizes: tf.Tensor,
        out_backprop: tf.Tensor,
        arguments: ConvArguments,
    ) -> PatchGeometry:
        first = 1 if arguments.channel_axis == 3 else 2
        spatial = slice(first, first + 2)
        in_sizes = tf.shape(input, tf.int64)[spatial]
        out_sizes = tf.shape(out_backprop, tf.int64)[spatial]
        kernel = tf.cast(filter_sizes[:2], tf.int64)
        strides, dilations = arguments.strides[spatial], arguments.dilations[spatial]
        reach = (kernel - 1) * dilations + 1
        before: tuple[int, ...] | tf.Tensor = (0, 0)
        padded = in_sizes
        if arguments.padding == "EXPLICIT":
            pads = arguments.explicit_paddings[2 * first : 2 * first + 4]
            before = pads[::2]
            padded += (pads[0] + pads[1], pads[2] + pads[3])
        elif arguments.padding == "SAME":
            total = ((in_sizes + strides - 1) // strides - 1) * strides + reach
            padded = tf.maximum(total, in_sizes)
            before = (padded - in_sizes) // 2
        expected, found = (
            tf.get_static_value(sizes)
            for sizes in ((padded - reach) // strides + 1, out_sizes)
        )
        if expected is not None and found is not None and list(expected) != list(found):
            raise ValueError(
                f"out_backprop has {found[0]} rows and {found[1]} columns, but the "
                f"convolution's output has {expected[0]} and {expected[1]}."
            )
        batch = tf.shape(input, tf.int64)[0]
        return cls(batch, in_sizes, out_sizes, kernel, strides, dilations, before)

    def gather(self, pixels: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """The patches of `rows` from `pixels` `[N*H*W, C]`, as `[rows, KH, KW, C]`.

        Patches of rows beyond the last are zero.
        """
        place, inside = self._pixels_of(rows)
        values = tf.gather(pixels, place)
        return tf.where(inside[..., None], values, tf.zeros_like(values))

    def scatter(self, patches: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Sums the patches of `rows`, `[rows, KH, KW, C]`, into `[N, H, W, C]`.

        Elements in the padding and patches of rows beyond the last are dropped.
        """
        place, inside = self._pixels_of(rows)
        patches = tf.where(inside[..., None], patches, tf.zeros_like(patches))
        channels = tf.shape(patches, tf.int64)[3]
        count = self.batch * tf.reduce_prod(self.in_sizes)
        pixels = tf.scatter_nd(
            tf.reshape(place, [-1, 1]),
            tf.reshape(patches, tf.stack([-1, channels])),
            tf.stack([count, channels]),
        )
        sizes = tf.concat([[self.batch], self.in_sizes, [channels]], axis=0)
        return tf.reshape(pixels, sizes)

    def _pixels_of(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The pixel under each tap at `rows`, `[rows, KH, KW]`, and whether it exists.

        In the padding and for rows beyond the last, the pixel is arbitrary.
        """
        height, width = tf.unstack(self.in_sizes)
        out_height, out_width = tf.unstack(self.out_sizes)
        taps = [tf.range(size) for size in tf.unstack(self.kernel)]
        example = rows // (out_height * out_width)
        first = (rows // out_width % out_height, rows % out_width)
        y, x = (
            (first[axis] * self.strides[axis] - self.before[axis])[:, None]
            + taps[axis] * self.dilations[axis]
            for axis in (0, 1)
        )
        y_inside, x_inside = (y >= 0) & (y < height), (x >= 0) & (x < width)
        y_inside &= (example < self.batch)[:, None]
        inside = y_inside[:, :, None] & x_inside[:, None, :]
        example = tf.minimum(example, self.batch - 1)
        y = tf.clip_by_value(y, 0, height - 1)
        x = tf.clip_by_value(x, 0, width - 1)
        place = (example[:, None] * height + y)[:, :, None] * width + x[:, None, :]
        return place, inside
