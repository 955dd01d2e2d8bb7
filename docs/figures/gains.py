"""Tables of whole training steps: net gain, ceilings, what else a user could do."""

from __future__ import annotations

from collections.abc import Callable

from smaller_batch import (
    RECOMMENDED,
    direct_test,
    exact_run,
    realised_gain,
    recommended_run,
    time_of_smaller_batch,
)
from tables import Row, interval, markdown, read, times, wrapped


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
        "Predicted net gain",
    )
    columns = ("network", "method", "epoch", "speed_up", "tau", "net")
    return markdown(header, ([row[x] for x in columns] for row in rows), texts=2)


def recommended() -> str:
    """Net gain of the recommended setting, and of one that doesn't pay."""
    header = (
        "Network, epoch",
        "Share",
        "Step, s",
        "Extra variance, tau",
        "Predicted net gain",
    )
    shown = (RECOMMENDED, "1/8, norm")
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
    """README's first figures."""
    rows = [row for row in net_gains() if row["method"] == RECOMMENDED]
    speeds = sorted(float(row["speed_up"]) for row in rows)
    nets = sorted(float(net) for row in rows for net in row["net"].split(" / "))
    highest = ordered_ceilings()[-1]
    return wrapped(
        f"**A training step is {speeds[0]:.2f} to {speeds[-1]:.2f} times as fast** "
        "with the recommended setting on every convolution of a half-width ResNet-18 "
        "and of VGG-19 (Fashion-MNIST, batch 128, two CPU cores). Sampling adds "
        "variance, as a smaller batch does, which is faster, too: over a smaller "
        f"batch, the predicted net gain is {nets[0]:.2f} to {nets[-1]:.2f}. **The one "
        f"run that tested it realised {realised_gain(recommended_run())}**: "
        f"{direct_test()}. One reason: {time_of_smaller_batch()}. Filter gradients "
        "take up to "
        f"{1 - 1 / float(highest['zero']):.0%} of a step ({highest['network']}), the "
        "ceiling of what approximating them can save."
    )


def ordered_ceilings() -> list[Row]:
    """The networks by what they would gain from no filter gradient at all."""
    return sorted(read("step_ceilings"), key=lambda row: float(row["zero"]))


def alternatives() -> str:
    """What a user can do instead, as a list."""
    exact, smaller = exact_run("128"), exact_run("96")
    bfloat16 = " and ".join(
        f"{times(float(row['float32_ms']) / float(row['bfloat16_ms']))} "
        f"({row['network']})"
        for row in read("mixed_bfloat16")
    )
    (network,) = (
        row for row in read("frontier_resnet20_times") if row["setting"] == "resnet14"
    )
    ordered = ordered_ceilings()
    items = (
        "**A smaller batch.** 600 steps of half-width ResNet-18 take "
        f"{exact['seconds']} s with batch {exact['batch']} and end at a training loss "
        f"of {exact['loss_quarter_4']}; {smaller['seconds']} s and "
        f"{smaller['loss_quarter_4']} with batch {smaller['batch']}.",
        f"**`mixed_bfloat16`.** {bfloat16} on that CPU, which has AVX-512: full "
        "gradients, in bfloat16.",
        f"**A smaller network.** {times(network['faster'])}, ResNet-14 in place of "
        "ResNet-20, with the same accuracy within the spread of three seeds.",
        "**Nothing, where filter gradients are a small part of the step.** Without "
        f"any, a step is {times(ordered[0]['zero'])} as fast for "
        f"{ordered[0]['network']} and {times(ordered[1]['zero'])} for "
        f"{ordered[1]['network']}.",
    )
    return "\n".join(wrapped(f"- {item}", indent="  ") for item in items)


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


GAIN_TABLES: dict[str, Callable[..., str]] = {
    "alternatives": alternatives,
    "claim": claim,
    "mixed_bfloat16": mixed_bfloat16,
    "net_gain": net_gain,
    "recommended": recommended,
    "step_ceilings": step_ceilings,
}
