"""Plans made by hand, and a model that they fit."""

import dataclasses
from typing import Any

import keras
import numpy as np

import tf_approxgrad as tfag
from tf_approxgrad.planning.figures import Alternative, LayerPlan
from tf_approxgrad.utils.machine import machine_name

ROWS = tfag.RowSampledGradient(0.5, probability="product", keep_largest=True)
METHODS = (tfag.ExactGradient(), ROWS, tfag.FullGradient())
FILTERS = ((3, 3, 2, 3), (3, 3, 3, 4), (1, 1, 4, 2))
NAMES = ("first", "second", "third")
X = np.random.default_rng(0).normal(size=(12, 6, 6, 2)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(12, 6, 6, 2)).astype(np.float32)


def planned_model(filters: tuple[tuple[int, ...], ...] = FILTERS) -> keras.Model:
    """A model of convolutions, by default those of `plan_by_hand`."""
    return keras.Sequential(
        [
            keras.Input((6, 6, filters[0][2])),
            *(
                keras.layers.Conv2D(shape[3], shape[:2], padding="same", name=name)
                for name, shape in zip(NAMES, filters, strict=False)
            ),
        ],
        name="small",
    )


def plan_by_hand(**changes: Any) -> tfag.Plan:
    """A plan of three layers, in which no number is as another."""
    layers = tuple(
        LayerPlan(
            name=name,
            filters=filters,
            method=method,
            kernel=f"{method.label} (some)",
            full_ms=place + 4 / 3,
            exact_ms=place + 1 / 3,
            ms=place + 1 / 7,
            tau=0.0 if method.is_exact else 0.0213,
            reason=f"reason {place}",
        )
        for place, (name, filters, method) in enumerate(
            zip(NAMES, FILTERS, METHODS, strict=True), start=1
        )
    )
    made = tfag.Plan(
        model_name="small",
        layers=layers,
        batch_size=64,
        full_step_ms=31.0,
        exact_step_ms=28.0,
        predicted_step_ms=26.0,
        speed_up=1.1234,
        tau=0.0213,
        max_extra_variance=0.05,
        counts_by_layer=True,
        noise_batch=1234.5,
        curve=((0.0, 1.05), (0.0213, 1.1), (0.04, 1.2)),
        alternatives=(
            Alternative("half the batch (32)", 1.9, 1.0),
            Alternative("mixed_bfloat16", 0.0, note="there is no arithmetic"),
        ),
        machine=machine_name(),
        verdict="Approximate the filter gradients of 1 of 3 layers.",
    )
    return dataclasses.replace(made, **changes)
