"""Tables of plans: predicted and measured speed-ups, and a report."""

from __future__ import annotations

from collections.abc import Callable

from tables import RESULTS, markdown, read, times

_NAMES = {
    "cnn2": "2-layer CNN",
    "resnet20": "ResNet-20",
    "vgg19": "VGG-19 of the paper",
    "resnet18_half": "half-width ResNet-18",
    "resnet50_64": "ResNet50",
    "unet_64": "U-Net (32 to 512 channels)",
    "mobilenet_v2_64": "MobileNetV2",
    "densenet121_64": "DenseNet121",
}


def plans() -> str:
    """Each network's plan, before training and after some epochs."""
    header = (
        "Network",
        "Epochs before",
        "Predicted",
        "Measured",
        "exact alone",
        "tau",
        "Net gain",
        "`mixed_bfloat16`",
        "Plan took",
    )
    return markdown(
        header,
        (
            (
                _NAMES[row["network"]],
                row["epochs"],
                times(row["predicted"]),
                times(row["measured"]),
                times(row["exact"]),
                f"{float(row['tau']):.3f}",
                times(row["net"]),
                times(row["bfloat16"]),
                f"{float(row['seconds']):.0f} s",
            )
            for row in read("plans")
        ),
    )


def plan_report(network: str) -> str:
    """What `print(plan)` showed."""
    path = RESULTS / f"plan_{network}.txt"
    return f"```text\n{path.read_text(encoding='utf-8').rstrip()}\n```"


PLAN_TABLES: dict[str, Callable[..., str]] = {
    "plan_report": plan_report,
    "plans": plans,
}
