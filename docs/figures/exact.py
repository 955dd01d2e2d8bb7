"""Tables of exact gradients: speed and error of the kernels, steps, training, tiles."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from tables import Row, markdown, read, times, wrapped

_NETWORKS = {
    "vgg19": "VGG-19 of the paper",
    "vgg16": "VGG16",
    "unet": "U-Net (32 to 512 channels)",
    "resnet18_half": "half-width ResNet-18",
    "resnet20": "ResNet-20",
    "resnet50_64": "ResNet50",
    "resnet50_128": "ResNet50",
    "densenet121": "DenseNet121",
    "efficientnet_b0": "EfficientNetB0",
    "mobilenet_v2": "MobileNetV2",
}
_SEEDS = (0, 1, 2)
# AMD EPYCs of these kinds; the first is the one of most tables.
_PROCESSORS = ("zen5", "zen4", "zen3")
_KINDS = ("exact", "bfloat16", "both")


def _kernels(gradient: str) -> list[Row]:
    return [row for row in read("exact_gradients_zen5") if row["gradient"] == gradient]


def _error(text: str) -> str:
    return f"{float(text) * 1e6:.1f}"


def exact_kernels(gradient: str) -> str:
    """Each shape's times and relative errors, in units of 1e-6."""
    header = (
        "Batch, map, channels",
        "TensorFlow, ms",
        "exact, ms",
        "Speed-up",
        "Error, 1e-6",
        "TensorFlow's",
    )
    return markdown(
        header,
        (
            (
                row["shape"].removesuffix(" 3x3/1"),
                f"{float(row['dense_ms']):.1f}",
                f"{float(row['exact_ms']):.1f}",
                times(row["ratio"]),
                _error(row["exact_error"]),
                _error(row["dense_error"]),
            )
            for row in _kernels(gradient)
        ),
    )


def exact_means(processor: str) -> str:
    """Geometric means and worst cases on a machine, in a sentence."""
    rows = read(f"exact_gradients_{processor}")
    parts = []
    for gradient in ("filter", "input"):
        for group, name in (
            ("table 1", "the paper's shapes"),
            ("ResNet-50 3x3", "ResNet-50's"),
        ):
            ratios = [
                float(row["ratio"])
                for row in rows
                if row["gradient"] == gradient and row["group"] == group
            ]
            parts.append(
                f"{times(statistics.geometric_mean(ratios), 1)} for the {gradient} "
                f"gradient on {name} (worst {times(min(ratios), 1)})"
            )
    suffixes = ("", "_relu")
    largest = max(float(row[f"exact_error{x}"]) for row in rows for x in suffixes)
    relative = max(
        float(row[f"exact_error{x}"]) / float(row[f"dense_error{x}"])
        for row in rows
        for x in suffixes
    )
    return wrapped(
        f"Geometric means: {', '.join(parts)}. The largest relative error is "
        f"{largest * 1e6:.1f}e-6, and at most {relative:.1f} times TensorFlow's own, "
        f"both against float64. {_machine(rows[0], processor)}"
    )


def _machine(row: Row, processor: str) -> str:
    return (
        f"Measured on {row['threads']} cores of an {row['cpu']}, a Zen {processor[-1]} "
        f"with {row['instruction_set'].upper()}, TensorFlow {row['tensorflow']} with "
        "oneDNN (TF_ENABLE_ONEDNN_OPTS=1)."
    )


def _steps() -> list[dict[str, Row]]:
    """Rows of each network, by processor."""
    found = {
        kind: {row["network"]: row for row in read(f"exact_step_{kind}")}
        for kind in _PROCESSORS
    }
    rows = [{kind: found[kind][name] for kind in found} for name in found["zen5"]]
    return sorted(rows, key=lambda row: -float(row["zen5"]["exact_ratio"]))


def _name(row: Row) -> str:
    return f"{_NETWORKS[row['network']]}, {row['batch']}, {row['image']}"


def exact_steps() -> str:
    """Whole training steps."""
    header = (
        "Network, batch, image",
        "Zen 5: TensorFlow, ms",
        "exact, ms",
        "Speed-up",
        "Zen 4",
        "Zen 3",
    )
    return markdown(
        header,
        (
            (
                _name(row["zen5"]),
                f"{float(row['zen5']['full_ms']):.0f}",
                f"{float(row['zen5']['exact_ms']):.0f}",
                *(times(row[kind]["exact_ratio"]) for kind in _PROCESSORS),
            )
            for row in _steps()
        ),
    )


def exact_bfloat16() -> str:
    """Steps under mixed_bfloat16 beside exact ones in float32, and both together."""
    header = ("Network, batch, image", "exact", "mixed_bfloat16", "both")
    return markdown(
        header,
        (
            (
                _name(row["zen5"]),
                *(times(row["zen5"][f"{x}_ratio"]) for x in _KINDS),
            )
            for row in _steps()
        ),
    )


def exact_without_onednn() -> str:
    """Steps with oneDNN off."""
    header = ("Network, batch, image", "TensorFlow, ms", "exact, ms", "Speed-up")
    return markdown(
        header,
        (
            (
                _name(row),
                f"{float(row['full_ms']):.0f}",
                f"{float(row['exact_ms']):.0f}",
                times(row["exact_ratio"]),
            )
            for row in read("exact_step_zen4_no_onednn")
        ),
    )


def exact_claim() -> str:
    """README's first figures."""
    rows = {row["zen5"]["network"]: row for row in _steps()}

    def of(network: str) -> str:
        ratios = [float(row["exact_ratio"]) for row in rows[network].values()]
        return f"{min(ratios):.2f} to {max(ratios):.2f}"

    row = rows["vgg19"]["zen5"]
    return wrapped(
        f"**A training step of VGG-19 is {of('vgg19')} times as fast, of VGG16 "
        f"{of('vgg16')}, of a U-Net {of('unet')}, of a half-width ResNet-18 "
        f"{of('resnet18_half')}, of ResNet50 on 64x64 images {of('resnet50_64')}, with "
        "exact gradients**: the same to rounding, error and all else unchanged. The "
        "gain is that of 3x3 convolutions with stride 1 in float32 on a CPU. Measured "
        f"on {row['threads']} cores of three kinds of {row['cpu']}; it is largest on "
        f"the oldest, where TensorFlow {row['tensorflow']} is slowest. oneDNN was on "
        "(TF_ENABLE_ONEDNN_OPTS=1)."
    )


def exact_training() -> str:
    """ResNet-20 by full and by exact gradients, over seeds."""
    header = ("Gradients", "Seeds", "Training loss", "Test loss", "Test, %")
    histories = [read(f"exact_training_seed{seed}") for seed in _SEEDS]
    rows = []
    names = dict.fromkeys(row["setting"] for row in histories[0])
    for name in names:
        last = [[r for r in rows if r["setting"] == name][-1] for rows in histories]
        cells = []
        for column, factor, digits in (
            ("loss", 1, 3),
            ("val_loss", 1, 3),
            ("val_accuracy", 100, 2),
        ):
            values = [factor * float(row[column]) for row in last]
            mean, spread = statistics.fmean(values), statistics.stdev(values)
            cells.append(f"{mean:.{digits}f} ± {spread:.{digits}f}")
        kind = "TensorFlow's" if name == "full" else "exact"
        rows.append((kind, str(len(last)), *cells))
    differences = []
    for history in histories:
        full, exact = (
            [float(row["loss"]) for row in history if row["setting"] == name][-1]
            for name in names
        )
        differences.append(f"{exact - full:+.3f}")
    return (
        f"{markdown(header, rows)}\n\nBy seed, the training losses differ by "
        f"{', '.join(differences)}."
    )


def tile_sampling() -> str:
    """What sampling tiles would be worth."""
    header = (
        "Epoch",
        "Drawn",
        "Share",
        "tau",
        "All gradients, ms",
        "Sampled, ms",
        "Net gain",
        "Layers that gain",
    )
    return markdown(
        header,
        (
            (
                row["epoch"],
                row["sampled"],
                row["share"],
                f"{float(row['tau']):.3f}",
                f"{float(row['winograd_ms']):.0f}",
                f"{float(row['sampled_ms']):.0f}",
                f"{float(row['net']):.2f}",
                f"{row['layers_that_gain']} of {row['layers']}",
            )
            for row in read("tile_sampling")
        ),
        texts=2,
    )


EXACT_TABLES: dict[str, Callable[..., str]] = {
    "exact_bfloat16": exact_bfloat16,
    "exact_claim": exact_claim,
    "exact_kernels": exact_kernels,
    "exact_means": exact_means,
    "exact_steps": exact_steps,
    "exact_training": exact_training,
    "exact_without_onednn": exact_without_onednn,
    "tile_sampling": tile_sampling,
}
