"""Faster gradients for training CNNs in TensorFlow and Keras.

Start with `approximate_gradients`, which converts a Keras model.
"""

from importlib.util import find_spec as _find_spec

if _find_spec("tensorflow") is None:
    raise ImportError(
        "tf_approxgrad needs TensorFlow, and none is installed: type `pip install "
        "'tensorflow>=2.18,<2.22'`, or `tensorflow-cpu` for processors alone."
    )

import keras

if keras.config.backend() != "tensorflow":
    raise ImportError(
        "tf_approxgrad needs Keras' tensorflow backend, but "
        f"{keras.config.backend()!r} is in use: set the environment variable "
        "KERAS_BACKEND=tensorflow."
    )

from tf_approxgrad import models
from tf_approxgrad.conversion.convert import approximate_gradients, strip_approximation
from tf_approxgrad.conversion.report import ConversionReport, conversion_report
from tf_approxgrad.conversion.step_binding import bind_step
from tf_approxgrad.gradients.conv2d import conv2d, conv2d_backprop_filter
from tf_approxgrad.gradients.registration import register_filter_gradient
from tf_approxgrad.layers.conv import (
    ApproxConv1D,
    ApproxConv2D,
    ApproxConv2DTranspose,
    ApproxSeparableConv2D,
)
from tf_approxgrad.measure.fidelity import fidelity
from tf_approxgrad.measure.report import FidelityReport
from tf_approxgrad.methods import (
    ExactGradient,
    FullGradient,
    GradientMethod,
    MaxGradient,
    RandomGradient,
    RowSampledGradient,
    SampledGradient,
    TileSampledGradient,
    WinogradGradient,
    ZeroGradient,
)
from tf_approxgrad.planning.exact_runs import BatchRun
from tf_approxgrad.planning.plan import Plan
from tf_approxgrad.planning.planner import plan
from tf_approxgrad.planning.prediction import Prediction
from tf_approxgrad.schedules import (
    Alternate,
    Combined,
    Constant,
    EveryNthLayer,
    EveryNthStep,
    Piecewise,
    Ramp,
    Schedule,
    Staggered,
    TableSchedule,
    Until,
    Warmup,
)
from tf_approxgrad.training.adaptive_plan import AdaptivePlan
from tf_approxgrad.training.callback import ApproximationCallback
from tf_approxgrad.training.plateau import SwitchToFullOnPlateau
from tf_approxgrad.training.tensorboard import ApproximationSummaries
from tf_approxgrad.versions import __version__ as __version__
from tf_approxgrad.versions import show_versions

__all__ = [
    "AdaptivePlan",
    "Alternate",
    "ApproxConv1D",
    "ApproxConv2D",
    "ApproxConv2DTranspose",
    "ApproxSeparableConv2D",
    "ApproximationCallback",
    "ApproximationSummaries",
    "BatchRun",
    "Combined",
    "Constant",
    "ConversionReport",
    "EveryNthLayer",
    "EveryNthStep",
    "ExactGradient",
    "FidelityReport",
    "FullGradient",
    "GradientMethod",
    "MaxGradient",
    "Piecewise",
    "Plan",
    "Prediction",
    "Ramp",
    "RandomGradient",
    "RowSampledGradient",
    "SampledGradient",
    "Schedule",
    "Staggered",
    "SwitchToFullOnPlateau",
    "TableSchedule",
    "TileSampledGradient",
    "Until",
    "Warmup",
    "WinogradGradient",
    "ZeroGradient",
    "approximate_gradients",
    "bind_step",
    "conv2d",
    "conv2d_backprop_filter",
    "conversion_report",
    "fidelity",
    "models",
    "plan",
    "register_filter_gradient",
    "show_versions",
    "strip_approximation",
]
