"""`plan`: the choice of methods by measurement, on a user's own model and data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import rich.progress

from tf_approxgrad.conversion.report import conversion_report
from tf_approxgrad.conversion.traversal import check_model, convertible_layers
from tf_approxgrad.measure.backward_pass import loss_function, preserved_state
from tf_approxgrad.methods import MethodLike
from tf_approxgrad.planning.candidates import parse_candidates
from tf_approxgrad.planning.minibatches import read_minibatches
from tf_approxgrad.planning.plan import Plan
from tf_approxgrad.planning.plan_maker import MINIBATCHES, PlanMaker
from tf_approxgrad.planning.training_step import preserved_random_state
from tf_approxgrad.utils.checks import check_finite


def plan(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    batch_size: int | None = None,
    loss: Any = None,
    sample_weight: Any = None,
    max_extra_variance: float = 0.05,
    methods: MethodLike | Iterable[MethodLike] | None = None,
    verbose: bool = True,
) -> Plan:
    """Chooses a gradient method for each layer by measurement on your model and data.

    For each convolution it measures the times of its gradients, by TensorFlow's ops, by
    the fastest exact kernels and by sampled methods, and how much variance the sampled
    ones add to that of the minibatch. It chooses the methods of least time to the same
    loss, T * (1 + tau), and then times whole steps in turns: with the plan, of plain
    Keras, and of what you could do instead. Where nothing gains 3%, the plan is plain
    Keras, and says why.

    tau is the sum of the extra variances over that of the minibatch variances, from 8
    minibatches. With SGD the sums are over all weights; with other optimizers, which
    normalise gradients, tau is the mean of the layers' own ratios by their numbers of
    weights.

    The model may be plain or converted, compiled or not. Afterwards it is as before:
    weights, optimizer, statistics of normalisation, metrics, seed generators and
    conversion, and so are the random states of Python and NumPy. Steps are timed with
    copies of the weights and of the optimizer. A model with its own `train_step` is
    planned for the gradients of its `compute_loss`.

    Gradients become more concentrated in training: a plan made before the first step is
    for the first epochs. `AdaptivePlan` measures again.

    Args:
        model: A built Keras model with at least one convertible convolution.
        x: Inputs: an array, or a list or dict of arrays, from which minibatches are
            drawn at random; or a `tf.data.Dataset`, a `keras.utils.PyDataset` or a
            generator of batches `(x, y)` or `(x, y, sample_weight)`, of which the first
            8 are used. A generator loses them.
        y: Targets, likewise; `None` with batches.
        batch_size: Examples of a minibatch. `None` means 32, or that of the batches.
        loss: A loss, as for `compile`. `None` means the loss of the compiled model.
        sample_weight: Weights of the examples, as for `fit`.
        max_extra_variance: Bound of tau, at least 0. 0 means exact gradients.
        methods: Methods to choose from, besides the exact ones: a method or its name,
            or a list of these. `None` means `TileSampledGradient`, and
            `RowSampledGradient` with `keep_largest` by both probabilities, at six
            shares from 3/4 to 1/8. The bias of biased methods counts as variance, which
            it isn't: it doesn't average out.
        verbose: Whether to show a progress bar.

    Returns:
        A `Plan`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model isn't built, isn't compiled while `loss` is None, or
            has no convertible convolution; if the data hold fewer than two minibatches,
            don't fit the model or its loss, or give gradients that aren't finite; or if
            an argument isn't allowed.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(8, 8, 1))
    >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
    >>> x, y = np.random.normal(size=(64, 8, 8, 1)), np.arange(64) % 10
    >>> plan = tfag.plan(model, x, y, batch_size=16, verbose=False)
    >>> model = tfag.approximate_gradients(model, plan)
    >>> history = model.fit(
    ...     x, y, 16, callbacks=[tfag.ApproximationCallback()], verbose=0
    ... )
    """
    check_model(model)
    bound = check_finite(
        "max_extra_variance", max_extra_variance, "a number of at least 0", low=0
    )
    candidates = parse_candidates(methods)
    compute_loss = loss_function(model, loss)
    convertible = dict(enumerate(convertible_layers(model), start=1))
    if not convertible:
        raise ValueError(
            f"model {model.name!r} has no convolution that can be approximated.\n"
            f"{conversion_report(model)}"
        )
    minibatches = read_minibatches(x, y, sample_weight, batch_size, MINIBATCHES)
    with (
        preserved_random_state(),
        preserved_state(model),
        rich.progress.Progress(disable=not verbose, transient=True) as bar,
    ):
        planner = PlanMaker(model, convertible, compute_loss, minibatches, bar)
        return planner.plan([] if bound == 0 else candidates, bound)
