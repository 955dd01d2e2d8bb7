"""The exact filter gradient, as a method."""

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
    supports_jit = True
