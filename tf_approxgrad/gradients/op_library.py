"""The compiled op library, loaded, and its ops as registered in `cc/ops`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import tensorflow as tf

_FOLDER = Path(__file__).parents[1] / "op_libraries"
_HOW_TO_BUILD = (
    "build from source with `pip install --force-reinstall --no-deps .` in the "
    "unpacked source distribution, or with `make` in a checkout"
)


def _find(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Finds the library that is for the TensorFlow that is running.

    Args:
        folder: Has a library for each minor version, and a record beside each.

    Returns:
        The library's path, and its record.
    """
    running = tf.version.VERSION
    library = folder / "tensorflow_{}_{}.so".format(*running.split(".")[:2])
    record = library.with_suffix(".json")
    if not library.exists() and not record.exists():
        raise _others(_versions(folder))
    for path in (library, record):
        if not path.exists():
            raise ImportError(
                f"tf_approxgrad's compiled ops are damaged: {path} does not exist; "
                f"{_HOW_TO_BUILD}."
            )
    try:
        recorded = json.loads(record.read_text())
        built_for, size = recorded["tensorflow"], recorded["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ImportError(
            f"tf_approxgrad's compiled ops are damaged: {record} isn't what the build "
            f"writes; {_HOW_TO_BUILD}."
        ) from error
    # Before a release, one build differs from the next.
    if built_for != running and not _are_releases(built_for, running):
        raise _others(f"TensorFlow {built_for}")
    # The dynamic linker doesn't check a file's length: half a file crashes the process.
    found = library.stat().st_size
    if found < size:
        raise ImportError(
            f"tf_approxgrad's compiled ops are cut short: {library} has {found} of "
            f"{size} bytes; {_HOW_TO_BUILD}."
        )
    return library, recorded


def _others(versions: str) -> ImportError:
    """The error where the ops are for other TensorFlows than the one that runs."""
    return ImportError(
        f"tf_approxgrad's compiled ops are for {versions}, but TensorFlow "
        f"{tf.version.VERSION} is running; {_HOW_TO_BUILD}."
    )


def _are_releases(*versions: str) -> bool:
    """Whether no version is a candidate or a nightly build."""
    return all(re.fullmatch(r"[0-9.]+", version) for version in versions)


def _versions(folder: Path) -> str:
    """What a folder has libraries for, as in "TensorFlow 2.18, 2.19"."""
    found = [path.stem.split("_")[1:] for path in folder.glob("tensorflow_*_*.so")]
    found.sort(key=lambda version: tuple(map(int, version)))
    return f"TensorFlow {', '.join(map('.'.join, found))}" if found else "no TensorFlow"


def _load(library: Path) -> ModuleType:
    """Loads a library."""
    try:
        return tf.load_op_library(str(library))
    except tf.errors.NotFoundError as error:
        raise ImportError(
            f"tf_approxgrad's compiled ops in {library} do not load into TensorFlow "
            f"{tf.version.VERSION}: {error.message}; {_HOW_TO_BUILD}."
        ) from error


LIBRARY, RECORD = _find(_FOLDER)
_ops = _load(LIBRARY)
approx_await_backprop = _ops.approx_await_backprop
approx_conv2d_backprop_filter = _ops.approx_conv2d_backprop_filter
approx_conv2d_backprop_input = _ops.approx_conv2d_backprop_input
approx_random_filter_gradient = _ops.approx_random_filter_gradient
approx_row_sampled_conv2d_backprop_filter = (
    _ops.approx_row_sampled_conv2d_backprop_filter
)
approx_row_sampled_conv2d_backprop_input = _ops.approx_row_sampled_conv2d_backprop_input
approx_row_variances = _ops.approx_row_variances
approx_sample_rows = _ops.approx_sample_rows
approx_sampled_conv2d_backprop_filter = _ops.approx_sampled_conv2d_backprop_filter
approx_sampled_conv2d_backprop_input = _ops.approx_sampled_conv2d_backprop_input
approx_tile_sampled_conv2d_backprop_filter = (
    _ops.approx_tile_sampled_conv2d_backprop_filter
)
approx_winograd_conv2d_backprop_filter = _ops.approx_winograd_conv2d_backprop_filter
approx_winograd_conv2d_backprop_input = _ops.approx_winograd_conv2d_backprop_input


def _arguments_of(op: tf.Operation) -> dict[str, Any]:
    names = ("strides", "padding", "explicit_paddings", "data_format", "dilations")
    return {name: op.get_attr(name) for name in names}


@tf.RegisterGradient("ApproxWinogradConv2DBackpropFilter")
def _filter_gradients_gradient(
    op: tf.Operation, gradient: tf.Tensor
) -> list[tf.Tensor | None]:
    input, _, out_backprop = op.inputs
    arguments = _arguments_of(op)
    of_input = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(input),
        filter=gradient,
        out_backprop=out_backprop,
        **arguments,
    )
    of_output = tf.raw_ops.Conv2D(input=input, filter=gradient, **arguments)
    return [of_input, None, of_output]


@tf.RegisterGradient("ApproxWinogradConv2DBackpropInput")
def _input_gradients_gradient(
    op: tf.Operation, gradient: tf.Tensor
) -> list[tf.Tensor | None]:
    _, filters, out_backprop = op.inputs
    arguments = _arguments_of(op)
    of_filters = tf.raw_ops.Conv2DBackpropFilter(
        input=gradient,
        filter_sizes=tf.shape(filters),
        out_backprop=out_backprop,
        **arguments,
    )
    of_output = tf.raw_ops.Conv2D(input=gradient, filter=filters, **arguments)
    return [None, of_filters, of_output]


@tf.RegisterGradient("ApproxConv2DBackpropFilter")
def _max_gradients_gradient(
    op: tf.Operation, gradient: tf.Tensor
) -> list[tf.Tensor | None]:
    keeps_all = op.get_attr("k") == tf.int64.max and op.get_attr("k_share") == 0
    if keeps_all and op.get_attr("scale") == 1 and not op.get_attr("mean_over_batch"):
        return _filter_gradients_gradient(op, gradient)
    return _refuse_gradient(op, gradient)


def _refuse_gradient(op: tf.Operation, *gradients: Any) -> NoReturn:
    """Raises with a remedy, in place of TensorFlow's "no gradient registered"."""
    del gradients
    raise NotImplementedError(
        f"{op.type} has no gradient: approximate gradients can't be differentiated "
        "again. For gradients of input gradients, as in a gradient penalty, leave "
        "input_gradient=None; for gradients of filter gradients, use method='full'."
    )


for _name in (
    "ApproxAwaitBackprop",
    "ApproxConv2DBackpropInput",
    "ApproxRandomFilterGradient",
    "ApproxRowSampledConv2DBackpropFilter",
    "ApproxRowSampledConv2DBackpropInput",
    "ApproxRowVariances",
    "ApproxSampleRows",
    "ApproxSampledConv2DBackpropFilter",
    "ApproxSampledConv2DBackpropInput",
    "ApproxTileSampledConv2DBackpropFilter",
):
    tf.RegisterGradient(_name)(_refuse_gradient)
