"""The exact gradients, as methods."""

import dataclasses

import keras

from tf_approxgrad.methods.base import GradientMethod


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class FullGradient(GradientMethod):
    """The exact filter gradient, as TensorFlow computes it.

    `dF[kh,kw,ci,co] = sum_n sum_p dY[n,p,co] * Xp[n, row*sh + kh*dh,
    col*sw + kw*dw, ci]`, with Xp the zero-padded input, (sh, sw) the strides and
    (dh, dw) the dilations.

    Source: `tf.raw_ops.Conv2DBackpropFilter`.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.FullGradient().label
    'full'
    """

    name = "full"
    is_exact = True
    supports_jit = True


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class WinogradGradient(GradientMethod):
    """The exact gradient by Winograd's algorithm, up to rounding.

    A tile of 4x4 output positions takes 36 multiplications for each pair of channels,
    in place of 144. The result differs from that of TensorFlow's ops by rounding: about
    1e-6 of the gradient's norm. It is deterministic, on any number of threads.

    It applies to filters of 3x3 with strides and dilations of 1, any padding, on CPUs.
    float16 and bfloat16 are computed in float32. Elsewhere (other filters, float64, a
    GPU, XLA, too few channels to gain, bfloat16 on processors with AMX) TensorFlow's
    ops compute the gradient; `conversion_report` shows where.

    As `input_gradient` it is the exact input gradient, likewise.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016),
    F(3x3, 4x4) and F(4x4, 3x3), at the points 0, 2/3, -2/3, 3/2, -3/2 and infinity.

    Example:

    >>> import tensorflow as tf
    >>> import tf_approxgrad as tfag
    >>> x = tf.random.normal([8, 16, 16, 32])
    >>> dy = tf.random.normal([8, 16, 16, 32])
    >>> full, winograd = (
    ...     tfag.conv2d_backprop_filter(
    ...         x, [3, 3, 32, 32], dy, 1, "SAME", method=method
    ...     )
    ...     for method in ("full", "winograd")
    ... )
    >>> bool(tf.norm(winograd - full) < 1e-5 * tf.norm(full))
    True
    """

    name = "winograd"
    is_exact = True
    supports_jit = True


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class ExactGradient(GradientMethod):
    """The exact gradient by the fastest kernel for the convolution, up to rounding.

    On CPUs this is Winograd's algorithm, as `WinogradGradient`; the kernel of
    `MaxGradient` with all positions kept, where most of a small map's patches lie in
    its padding; else TensorFlow's op. The choice depends on sizes, dtype and processor
    alone.

    As `input_gradient` it is the exact input gradient, likewise.

    Example:

    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model)
    >>> model.get_layer("conv2").gradient_policy.method_at(0)
    ExactGradient()
    """

    name = "exact"
    is_exact = True
    supports_jit = True


# Those of this package, whose kernels follow from a convolution's sizes.
EXACT_METHODS = (FullGradient, WinogradGradient, ExactGradient)
