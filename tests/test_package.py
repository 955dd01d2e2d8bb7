"""The package's public names and version."""

import importlib.metadata
import inspect
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad.gradients.op_library import RECORD

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
    Piecewise Staggered Until Warmup Ramp
    ApproxConv2D ApproxConv1D ApproxConv2DTranspose ApproxSeparableConv2D
    approximate_gradients strip_approximation conversion_report ConversionReport
    bind_step ApproximationCallback SwitchToFullOnPlateau ApproximationSummaries
    fidelity FidelityReport plan Plan AdaptivePlan BatchRun Prediction
    models show_versions
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


def test_version_is_in_one_place() -> None:
    for name in ("pyproject.toml", "CITATION.cff", "CMakeLists.txt", "WORKSPACE"):
        assert tfag.__version__ not in (ROOT / name).read_text()
    assert importlib.metadata.version("tf_approxgrad") == tfag.__version__


def test_versions_are_printed_for_reports(capsys: pytest.CaptureFixture[str]) -> None:
    tfag.show_versions()
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:17].strip(): line[18:] for line in lines}
    assert rows["tf_approxgrad"] == tfag.__version__
    assert rows["TensorFlow"].startswith(f"{tf.version.VERSION} (tensorflow")
    assert rows["Keras"] == keras.__version__
    assert rows["Python"].startswith(platform.python_version())
    assert rows["Op library"] == f"for TensorFlow {RECORD['tensorflow']}"
    assert rows.keys() >= {"NumPy", "CPU", "CUDA kernels", "GPUs"}
    asked = os.environ.get("TF_APPROXGRAD_INSTRUCTION_SET")
    possible = [asked] if asked else ["baseline", "avx2", "avx512"]
    assert rows["Instruction set"] in possible


def test_import_without_tensorflow_says_what_to_type() -> None:
    program = (
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda x, *a: None if x == 'tensorflow' else find(x, *a)\n"
        "import tf_approxgrad\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.stderr.splitlines()[-1].startswith(
        "ImportError: tf_approxgrad needs TensorFlow, and none is installed: type `pip "
    )


def test_issue_template_asks_for_them() -> None:
    template = ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml"
    assert "tfag.show_versions()" in template.read_text()
