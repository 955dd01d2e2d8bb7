"""Tables of single filter gradients: their speed, and how close they are."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from tables import Row, markdown, read, times

# The columns of filter_gradient_k*.csv, and the setting that each holds.
_KERNELS = {
    "max": [("k1", "max_ratio", "k=1"), ("k4", "max_ratio", "k=4")],
    "sampled": [("k1", "sampled_ratio", "k=1"), ("k4", "sampled_ratio", "k=4")],
    "row-sampled": [("k1", "rows_ratio", "share=0.125")],
    "random": [("k1", "random_ratio", "default")],
    "zero": [("k1", "zero_ratio", "default")],
}


def kernel_speed(method: str) -> str:
    """How many times as fast as TensorFlow's filter gradient, by group of shapes."""
    groups = ("table 1", "ResNet-50 1x1", "ResNet-50 3x3")
    header = ("Setting", "Paper's shapes", "slowest", "ResNet-50, 1x1", "3x3")
    rows = []
    for suffix, column, setting in _KERNELS[method]:
        ratios = {
            group: [
                float(row[column])
                for row in read(f"filter_gradient_{suffix}")
                if row["group"] == group
            ]
            for group in groups
        }
        means = [times(statistics.geometric_mean(x), 1) for x in ratios.values()]
        slowest = times(min(ratios["table 1"]), 1)
        rows.append((f"`{setting}`", means[0], slowest, *means[1:]))
    return markdown(header, rows)


def gpu_kernel_speed() -> str:
    """How many times as fast as cuDNN, on the paper's shapes with batch 128."""
    header = ("Method", "Layout", "float32", "TF32", "bfloat16")
    rows = []
    for method, k in (("max", 1), ("max", 4), ("sampled", 1), ("sampled", 4)):
        for layout in ("NHWC", "NCHW"):
            means = []
            for arithmetic in ("float32", "tf32", "bfloat16"):
                ratios = [
                    float(row["ratio"])
                    for row in read(f"gpu_filter_gradient_{method}_k{k}")
                    if (row["layout"], row["arithmetic"], row["batch"])
                    == (layout, arithmetic, "128")
                ]
                means.append(times(statistics.geometric_mean(ratios), 1))
            rows.append((f"`{method}`, k = {k}", layout, *means))
    return markdown(header, rows, texts=2)


def fidelity(model: str) -> str:
    """Medians over all layers but the first, for the new network and a trained one."""
    header = ("Method", "Cosine, new", "Cosine, trained", "Bias", "Variance")
    cells: dict[str, list[str]] = {}
    for when, columns in (
        ("before", ["cosine"]),
        ("after", ["cosine", "bias", "variance"]),
    ):
        groups: dict[str, list[Row]] = {}
        for row in read(f"fidelity_{model}_{when}"):
            if row["index"] != "1":
                groups.setdefault(row["method"], []).append(row)
        for method, rows in groups.items():
            cells.setdefault(method, []).extend(
                _unsigned(statistics.median(float(row[x]) for row in rows))
                for x in columns
            )
    return markdown(header, ((f"`{method}`", *row) for method, row in cells.items()))


def _unsigned(value: float) -> str:
    """Two digits, without the sign of a zero."""
    return f"{round(value, 2) + 0.0:.2f}"


KERNEL_TABLES: dict[str, Callable[..., str]] = {
    "fidelity": fidelity,
    "gpu_kernel_speed": gpu_kernel_speed,
    "kernel_speed": kernel_speed,
}
