"""Measuring the fidelity of small models, and what its numbers should be."""

import math
import random

import model_zoo
import numpy as np
import tensorflow as tf

import tf_approxgrad as tfag

MEASURES = ("cosine", "relative_error", "norm_ratio", "bias", "variance")


def measure(model, x, y, methods=None, **arguments):
    defaults = {"loss": "mse", "repeats": 0, "draws": 4}
    return tfag.fidelity(model, x, y, methods, **defaults | arguments)


def numbers(row):
    return [getattr(row, name) for name in MEASURES]


def expected_numbers(draws, exact):
    """The numbers of a row in NumPy, from the gradients of all draws."""
    draws, norm = np.reshape(draws, [len(draws), -1]), np.linalg.norm(exact)
    exact = exact.ravel()
    lengths = np.linalg.norm(draws, axis=1)
    error = np.sqrt(np.mean(np.sum((draws - exact) ** 2, axis=1))) / norm
    variance = 0.0
    if len(draws) > 1:
        variance = np.sum(np.var(draws, axis=0, ddof=1)) / norm**2
    mean_error = np.linalg.norm(draws.mean(axis=0) - exact) / norm
    bias = math.sqrt(max(mean_error**2 - variance / len(draws), 0))
    cosine = np.mean(draws @ exact / (lengths * norm))
    return [cosine, error, np.mean(lengths) / norm, bias, variance]


def report_numbers(report):
    return [numbers(row) for row in report.rows]


def zoo_batch(model):
    """Inputs and targets for a model of the zoo."""
    names = [x.name for x in tf.nest.flatten(getattr(model, "inputs", None) or [])]
    x = {"one": model_zoo.X, "two": -model_zoo.X} if "one" in names else model_zoo.X
    y = tf.nest.map_structure(lambda z: np.zeros(z.shape, np.float32), model(x))
    return x, y


def zoo_loss(y):
    return dict.fromkeys(y, "mse") if isinstance(y, dict) else "mse"


def state(model):
    """All that must stay as it is."""
    layers, optimizer = model_zoo.all_layers(model), getattr(model, "optimizer", None)
    return (
        [variable.numpy() for variable in model.variables],
        [v.numpy() for v in getattr(optimizer, "variables", ())],
        [type(layer) for layer in layers],
        [vars(layer).keys() for layer in layers],
        [getattr(layer, "_gradient_policy", None) for layer in layers],
        [layer.supports_jit for layer in layers],
        random.getstate(),
        np.random.get_state(),
    )
