"""Tables of README.md and of the site, made from benchmarks/results/*.csv.

Each function of `TABLES` returns Markdown; a page names it between two markers, see
`generate`.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
RECOMMENDED = "1/2, product, keep_largest"
Row = dict[str, str]


def read(name: str) -> list[Row]:
    """The rows of benchmarks/results/NAME.csv."""
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def markdown(
    header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1
) -> str:
    """A table whose first columns are text and whose others are right-aligned."""
    rule = [*["---"] * texts, *["--:"] * (len(header) - texts)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def spread(values: Sequence[float], digits: int, sign: str = "") -> str:
    """Mean and sample standard deviation, the latter where there are two values."""
    mean = f"{statistics.fmean(values):{sign}.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values):.{digits}f}"


def times(value: str | float, digits: int = 2) -> str:
    return f"{float(value):.{digits}f}x" if value != "" else ""


def interval(row: Row, name: str, suffix: str = "") -> str:
    """A quantity that was measured once, or the range of several measurements."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{low}{suffix}" if low == high else f"{low} to {high}{suffix}"


def smaller_batch() -> str:
    header = ("Gradients", "Batch", "Training loss, 4 quarters", "Test, %", "Seconds")
    rows = []
    for row in read("smaller_batch_resnet18"):
        losses = " ".join(
            row[f"loss_quarter_{quarter}"].lstrip("0") for quarter in "1234"
        )
        seconds = "disturbed" if row["disturbed"] == "True" else row["seconds"]
        accuracy = row["test_accuracy"]
        rows.append((run_name(row), row["batch"], losses, accuracy, seconds))
    return markdown(header, rows)


def run_name(row: Row) -> str:
    if row["method"] == "full":
        return "exact"
    name = f"row-sampled {row['share']}, {row['probability']}"
    name += ", keep_largest" if row["keep_largest"] == "True" else ""
    return name + (", filter and input" if row["gradients"] == "both" else "")


def net_gains() -> list[Row]:
    """The rows of net_gain.csv, those of both weightings of the layers in one."""
    merged: dict[tuple[str, ...], Row] = {}
    for row in read("net_gain"):
        key = (row["network"], row["epoch"], row["method"])
        cells = {x: interval(row, x) for x in ("speed_up", "tau", "net")}
        if row["weighting"] == "mean" and key in merged:
            # The speed of a fixed setting doesn't depend on the weighting.
            cells["speed_up"] = cells["speed_up"] or merged[key]["speed_up"]
            cells["net"] = cells["net"] or f"{_net(cells):.2f}"
            cells = {
                x: old if (old := merged[key][x]) == cell else f"{old} / {cell}"
                for x, cell in cells.items()
            }
        merged[key] = dict(
            zip(("network", "epoch", "method"), key, strict=True), **cells
        )
    return [*merged.values()]


def _net(cells: Row) -> float:
    return float(cells["speed_up"]) / (1 + float(cells["tau"]))


def net_gain() -> str:
    rows = net_gains()
    header = (
        "Network",
        "Method",
        "Epoch",
        "Step, s",
        "Extra variance, tau",
        "Net gain",
    )
    columns = ("network", "method", "epoch", "speed_up", "tau", "net")
    return markdown(header, ([row[x] for x in columns] for row in rows), texts=2)


def recommended() -> str:
    """Net gain of the recommended setting, and of one that doesn't pay."""
    header = ("Network, epoch", "Share", "Step, s", "Extra variance, tau", "Net gain")
    shown = (RECOMMENDED, "1/4, product, keep_largest", "1/8, norm")
    rows = [row for row in net_gains() if row["method"] in shown and row["net"]]
    rows.sort(key=lambda row: (row["network"] == "VGG-19", shown.index(row["method"])))
    columns = ("method", "speed_up", "tau", "net")
    return markdown(
        header,
        (
            [f"{row['network']}, {row['epoch']}", *(row[x] for x in columns)]
            for row in rows
        ),
        texts=2,
    )


def claim() -> str:
    """README's first figure."""
    rows = [row for row in net_gains() if row["method"] == RECOMMENDED]
    speeds = sorted(float(row["speed_up"]) for row in rows)
    nets = sorted(float(net) for row in rows for net in row["net"].split(" / "))
    ceilings = ordered_ceilings()
    shares = [
        f"{1 - 1 / float(row['zero']):.0%} ({row['network']})"
        for row in (ceilings[1], ceilings[-1])
    ]
    return (
        f"**A training step is {speeds[0]:.2f} to {speeds[-1]:.2f} times as fast, a "
        f"net gain of {nets[0]:.2f} to {nets[-1]:.2f}**, with the setting below on every "
        "convolution of a half-width ResNet-18 and of VGG-19 (Fashion-MNIST, batch "
        f"128, two CPU cores). Filter gradients take {shares[0]} to {shares[1]} of a "
        "training step, which is the most that any method can save."
    )


def ordered_ceilings() -> list[Row]:
    """The networks by what they would gain from no filter gradient at all."""
    return sorted(read("step_ceilings"), key=lambda row: float(row["zero"]))


def alternatives() -> str:
    """What a user can do instead, as a list."""
    runs = [row for row in read("smaller_batch_resnet18") if row["seconds"]]
    exact, smaller = (
        next(row for row in runs if row["method"] == "full" and row["batch"] == batch)
        for batch in ("128", "96")
    )
    sampled = next(row for row in runs if row["method"] != "full")
    bfloat16 = " and ".join(
        f"{times(float(row['float32_ms']) / float(row['bfloat16_ms']))} "
        f"({row['network']})"
        for row in read("mixed_bfloat16")
    )
    (network,) = (
        row for row in read("frontier_resnet20_times") if row["setting"] == "resnet14"
    )
    ordered = ordered_ceilings()
    return "\n".join(
        [
            f"- **A smaller batch.** 600 steps of batch 96 take {smaller['seconds']} s "
            f"and end at a training loss of {smaller['loss_quarter_4']}; of batch 128 "
            f"exact {exact['seconds']} s and {exact['loss_quarter_4']}; of batch 128 "
            f"with the recommended setting {sampled['seconds']} s and "
            f"{sampled['loss_quarter_4']}.",
            f"- **`mixed_bfloat16`.** {bfloat16} on the same CPU, exact.",
            f"- **A smaller network.** ResNet-14 in place of ResNet-20: "
            f"{times(network['faster'])}.",
            "- **Nothing, where filter gradients are a small part of the step.** "
            f"Without any, a step is {times(ordered[0]['zero'])} as fast for "
            f"{ordered[0]['network']} and {times(ordered[1]['zero'])} for "
            f"{ordered[1]['network']}.",
        ]
    )


def step_ceilings() -> str:
    header = (
        "Network, batch, image size",
        "Exact, ms",
        "zero (the ceiling)",
        "row-sampled 1/16",
        "row-sampled 1/8",
        "max k=1",
        "1/8, filter and input",
    )
    columns = [
        "zero",
        "row_sampled_1_16",
        "row_sampled_1_8",
        "max_k1",
        "row_sampled_1_8_both",
    ]
    return markdown(
        header,
        (
            (
                f"{row['network']}, {row['batch']}, {row['size']}",
                row["exact_ms"],
                *(times(row[column]) for column in columns),
            )
            for row in read("step_ceilings")
        ),
    )


def mixed_bfloat16() -> str:
    header = ("Network", "float32, ms", "mixed_bfloat16, ms", "with zero, ms")
    columns = ("network", "float32_ms", "bfloat16_ms", "bfloat16_zero_ms")
    rows = read("mixed_bfloat16")
    return markdown(header, ([row[column] for column in columns] for row in rows))


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


TABLES: dict[str, Callable[..., str]] = {
    "alternatives": alternatives,
    "claim": claim,
    "fidelity": fidelity,
    "gpu_kernel_speed": gpu_kernel_speed,
    "kernel_speed": kernel_speed,
    "mixed_bfloat16": mixed_bfloat16,
    "net_gain": net_gain,
    "recommended": recommended,
    "smaller_batch": smaller_batch,
    "step_ceilings": step_ceilings,
}
