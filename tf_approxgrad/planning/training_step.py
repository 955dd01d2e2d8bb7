"""Whole training steps, to time, that leave the model as it is."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad import _compat
from tf_approxgrad.layers.policy import LayerPolicy
from tf_approxgrad.measure.backward_pass import backpropagate, preserved_state
from tf_approxgrad.measure.capture import temporary_policies
from tf_approxgrad.methods import ExactGradient, FullGradient, GradientMethod
from tf_approxgrad.planning.minibatches import Minibatch, specs_of
from tf_approxgrad.planning.variances import normalises

# Runs a training step, and waits for it.
Step = Callable[[Minibatch], None]


class _Steps:
    """A counter of training steps, for policies."""

    def __init__(self) -> None:
        self.variable = tf.Variable(0, dtype=tf.int64, trainable=False)

    def __call__(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.variable)


def training_step(
    model: keras.Model,
    layers: Mapping[int, keras.layers.Layer],
    methods: Mapping[int, GradientMethod] | None,
    compute_loss: Callable[..., tf.Tensor] | None,
    batch: Minibatch,
) -> Step:
    """Traces a training step that updates copies of the model's weights.

    Args:
        model: A built model. Its optimizer is copied; Adam or SGD if it can't be.
        layers: Convertible layers, by layer index.
        methods: Their methods; `None` means gradients by TensorFlow's ops.
        compute_loss: Called like the model's `compute_loss`, which is the default.
        batch: A minibatch, for shapes and dtypes.

    Returns:
        The step. It changes the model's statistics of normalisation and the like.
    """
    steps = _Steps()
    policies = {}
    for index, layer in layers.items():
        method = FullGradient() if methods is None else methods[index]
        of_input = None if methods is None else ExactGradient()
        policies[index] = LayerPolicy(
            layer.name, method, index=index, step=steps, input_method=of_input
        )
    weights = model.trainable_weights
    with preserved_random_state():
        optimizer = _copy_of(getattr(model, "optimizer", None))
        copies = [
            keras.Variable(weight, dtype=weight.dtype, name=f"copy_{place}")
            for place, weight in enumerate(weights)
        ]
        optimizer.build(copies)

    @tf.function(autograph=False, jit_compile=is_compiled_by_xla(model))
    def step(x: Any, y: Any, sample_weight: Any) -> tf.Tensor:
        gradients = backpropagate(model, x, y, sample_weight, compute_loss)
        pairs = [
            (gradient, copy)
            for gradient, copy in zip(gradients, copies, strict=True)
            if gradient is not None
        ]
        optimizer.apply_gradients(pairs)
        steps.variable.assign_add(1)
        return tf.identity(steps.variable)

    with preserved_state(model), temporary_policies(layers, policies):
        traced = step.get_concrete_function(*map(specs_of, batch))

    def run(batch: Minibatch) -> None:
        traced(*batch).numpy()

    return run


def is_compiled_by_xla(model: keras.Model) -> bool:
    """Whether `fit` of a model runs its steps by XLA."""
    return bool(model.compiled and model.jit_compile)


def _copy_of(
    optimizer: keras.optimizers.Optimizer | None,
) -> keras.optimizers.Optimizer:
    try:
        if optimizer is not None:
            return keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    # Such as a schedule of the user's own without get_config. Its time is the same.
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        pass
    return keras.optimizers.Adam() if normalises(optimizer) else keras.optimizers.SGD()


@contextlib.contextmanager
def explained(model: keras.Model) -> Iterator[None]:
    """Says of errors of a training step that the data may not fit."""
    try:
        yield
    except (TypeError, ValueError, tf.errors.OpError) as error:
        message = error.message if isinstance(error, tf.errors.OpError) else error
        raise ValueError(
            f"x, y and loss must fit model {model.name!r}, but a training step failed: "
            f"{message}"
        ) from error


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restores the random states of Python, NumPy and Keras.

    That of Keras is of layers that draw without a seed generator of their own.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    generator = _compat.global_seed_generator()
    of_keras = None if generator is None else tf.identity(generator.state)
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        if generator is None:
            _compat.forget_global_seed_generator()
        else:
            generator.state.assign(of_keras)
