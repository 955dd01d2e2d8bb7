"""The version, and what else to say of an installation in a report of a bug."""

from __future__ import annotations

import ctypes
import importlib.metadata
import platform

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.gradients.op_library import LIBRARY, RECORD
from tf_approxgrad.utils.machine import cpu_name, gpu_names

# The one place that has it.
__version__ = "0.1.0"


def show_versions() -> None:
    """Prints versions and devices, for reports of bugs.

    That is: versions of the package, TensorFlow (and the distribution that it is from),
    Keras, NumPy and Python, the processor and the vector instructions that the kernels
    use, which TensorFlow the op library was built against and for which GPUs, CUDA in
    TensorFlow, and the GPUs that it sees.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.show_versions()  # doctest: +ELLIPSIS
    tf_approxgrad     ...
    TensorFlow        ...
    """
    names = importlib.metadata.packages_distributions().get("tensorflow", [])
    cuda = tf.sysconfig.get_build_info().get("cuda_version")
    archs = ", ".join(f"{arch[:-1]}.{arch[-1]}" for arch in RECORD["cuda_archs"])
    rows = {
        "tf_approxgrad": __version__,
        "TensorFlow": f"{tf.version.VERSION} ({', '.join(names) or 'not by pip'})",
        "Keras": keras.__version__,
        "NumPy": np.__version__,
        "Python": f"{platform.python_version()} ({platform.platform()})",
        "CPU": cpu_name(),
        "Instruction set": _instruction_set(),
        "Op library": f"for TensorFlow {RECORD['tensorflow']}",
        "CUDA kernels": f"for compute capability {archs}" if archs else "none",
        "TensorFlow's CUDA": cuda or "none",
        "GPUs": ", ".join(gpu_names()) or "none",
    }
    for name, value in rows.items():
        print(f"{name:17} {value}")


def _instruction_set() -> str:
    """The vector instructions that the kernels use."""
    # Loaded already: this finds it again.
    function = ctypes.CDLL(str(LIBRARY)).TfApproxgradInstructionSet
    function.restype = ctypes.c_char_p
    name: bytes = function()
    return name.decode()
