"""The package's public names and version."""

import inspect
import re
from pathlib import Path

import pytest

import tf_approxgrad as tfag

ROOT = Path(__file__).parents[1]

# Section 4 of the design.
PUBLIC_NAMES = re.findall(
    r"\w+",
    """
    FullGradient ZeroGradient RandomGradient MaxGradient SampledGradient
    RowSampledGradient TileSampledGradient ExactGradient WinogradGradient
    GradientMethod
    register_filter_gradient
    conv2d conv2d_backprop_filter
    Schedule EveryNthLayer Alternate EveryNthStep TableSchedule Constant Combined
    Piecewise Until Warmup Ramp
    ApproxConv2D ApproxConv1D ApproxConv2DTranspose ApproxSeparableConv2D
    approximate_gradients strip_approximation conversion_report ConversionReport
    bind_step ApproximationCallback SwitchToFullOnPlateau ApproximationSummaries
    fidelity FidelityReport plan Plan AdaptivePlan BatchRun Prediction
    models
    """,
)
METHOD_NAMES = ["preview", "plot", "fraction"]


@pytest.mark.parametrize("name", tfag.__all__)
def test_every_exported_name_exists_and_is_documented(name: str) -> None:
    value = getattr(tfag, name)
    # Not inspect.getdoc, which takes the base class's text for a class without one.
    assert (value.__doc__ or "").strip()
    # A dataclass without a docstring gets its signature for one.
    assert not value.__doc__.startswith(f"{name}(")


def test_all_lists_each_name_once_and_in_order() -> None:
    assert tfag.__all__ == sorted(PUBLIC_NAMES)


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_names_of_the_design_are_exported(name: str) -> None:
    assert name in tfag.__all__


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_schedules_have_the_methods_of_the_design(name: str) -> None:
    assert inspect.getdoc(getattr(tfag.Schedule, name))


@pytest.mark.parametrize("name", ["cnn2", "resnet", "vgg19"])
def test_the_networks_of_the_paper_are_exported(name: str) -> None:
    assert name in tfag.models.__all__
    assert inspect.getdoc(getattr(tfag.models, name))


def test_version_is_that_of_pyproject_toml() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.+)"$', text, re.MULTILINE)[1] == tfag.__version__
