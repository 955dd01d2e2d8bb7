"""Tables of predicted and measured losses, from benchmarks/results/predictions.csv."""

from __future__ import annotations

import math
from collections.abc import Callable

from tables import markdown, read, wrapped

from benchmarks.planning.prediction_runs import Run, agreement, of_settings
from benchmarks.rows import parse

# The rank correlation that predictions should have, which was set before.
_BAR = 0.8
_NAMES = {"cnn2": "2-layer CNN", "resnet20": "ResNet-20", "vgg19": "VGG-19"}


def _runs() -> list[Run]:
    """The approximate runs."""
    rows = [parse(row, Run) for row in read("predictions")]
    return [row for row in rows if not row.is_exact]


def _kinds() -> list[tuple[str, list[Run]]]:
    """Unbiased runs of each network and of all, then biased ones."""
    found = []
    for is_biased in (False, True):
        runs = [run for run in _runs() if run.is_biased == is_biased]
        kind = "biased" if is_biased else "unbiased"
        for network in dict.fromkeys(run.network for run in runs):
            of_network = [run for run in runs if run.network == network]
            found.append((f"{_network(of_network[0])}, {kind}", of_network))
        found.append((f"all, {kind}", runs))
    return found


def _network(run: Run) -> str:
    width = "" if run.width == 1 else f", width {run.width:g}"
    return f"{_NAMES[run.network]}{width}"


def prediction_claim(kind: str) -> str:
    """How well predictions hold, in sentences."""
    runs = [run for run in _runs() if run.is_biased == (kind == "biased")]
    x = agreement(runs)
    networks = len({run.network for run in runs})
    return wrapped(
        f"Of {x.runs} runs with {kind} methods on {networks} networks, the exact runs "
        f"reach {x.predicted}. The final loss of {x.close} of these is predicted "
        "within 5%. "
        "The rank correlation of what is predicted to be lost and what is lost is "
        f"{_rank(x.loss)} for the loss and {_rank(x.accuracy)} for the accuracy; "
        f"{_BAR} was the aim."
    )


def predictions() -> str:
    """How well predictions agree with runs."""
    header = (
        "Runs",
        "Number",
        "Predicted",
        "Loss within 5%",
        "Rank correlation: loss",
        "accuracy",
        "loss, by the noise scale",
    )
    rows = []
    for name, runs in _kinds():
        x = agreement(runs)
        rows.append(
            (
                name,
                str(x.runs),
                str(x.predicted),
                f"{x.close} of {x.predicted}",
                *map(_rank, (x.loss, x.accuracy, x.loss_by_noise)),
            )
        )
    return markdown(header, rows)


def predicted_settings(kind: str) -> str:
    """Predicted and measured losses of each setting, the means over seeds."""
    header = (
        "Network",
        "Setting",
        "Seeds",
        "tau",
        "Loss predicted",
        "measured",
        "Points lost predicted",
        "measured",
    )
    runs = [run for run in _runs() if run.is_biased == (kind == "biased")]
    rows = []
    for mean in of_settings(runs):
        seeds = sum(
            (run.network, run.setting) == (mean.network, mean.setting) for run in runs
        )
        rows.append(
            (
                _network(mean),
                f"`{_setting(mean.setting)}`",
                str(seeds),
                f"{mean.tau:.3f}" if mean.tau < 10 else f"{mean.tau:.0f}",
                "" if math.isnan(mean.predicted_loss) else f"{mean.predicted_loss:.3f}",
                f"{mean.loss:.3f}",
                _points(mean.predicted_lost_accuracy),
                _points(mean.lost_accuracy),
            )
        )
    return markdown(header, rows, texts=2)


def _setting(text: str) -> str:
    for long, short in (
        ("@constant", ""),
        ("share=", ""),
        ("probability=", ""),
        ("keep_largest=True", "keep_largest"),
        (":scale=1.0", ""),
    ):
        text = text.replace(long, short)
    return text.replace(":", " ")


def _points(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def _rank(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


PREDICTION_TABLES: dict[str, Callable[..., str]] = {
    "prediction_claim": prediction_claim,
    "predicted_settings": predicted_settings,
    "predictions": predictions,
}
