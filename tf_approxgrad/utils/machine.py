"""The machine that times are of."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

import tensorflow as tf


def cpu_name() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The instruction sets that Linux knows the processor to have."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return frozenset()
    return frozenset(information.read_text().split())


@functools.cache
def machine_name() -> str:
    """The processor, TensorFlow's number of threads, and the GPU if there is one."""
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    if not threads:
        has_affinity = hasattr(os, "sched_getaffinity")
        threads = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()
    return ", ".join([cpu_name(), f"{threads} threads", *gpu_names()[:1]])


def gpu_names() -> list[str]:
    """The names of the GPUs that TensorFlow sees; "GPU" for one without a name."""
    return [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
