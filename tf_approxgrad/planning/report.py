"""How a plan is shown: tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import rich.console
import rich.markup
import rich.table

from tf_approxgrad.methods import are_full
from tf_approxgrad.planning.figures import Alternative, PlanFigures
from tf_approxgrad.utils.plotting import import_pyplot
from tf_approxgrad.utils.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def renderables(plan: PlanFigures) -> Iterator[rich.console.RenderableType]:
    """A plan's report: the layers, the sums, and what else a user could do."""
    name = rich.markup.escape(plan.model_name)
    yield f'[bold]Plan for model: "{name}"[/], batch {plan.batch_size}'
    yield _layers(plan)
    yield f"[bold] {rich.markup.escape(plan.verdict)}[/]"
    yield _summary(plan)
    yield _alternatives(plan)
    yield f" Times in milliseconds, on {rich.markup.escape(plan.machine)}."


def _layers(plan: PlanFigures) -> rich.table.Table:
    table = rich.table.Table()
    table.add_column("Layer", overflow="fold")
    table.add_column("Gradients", overflow="fold")
    for header in ("Keras ms", "exact ms", "plan ms", "tau"):
        table.add_column(header, justify="right")
    table.add_column("Reason", overflow="fold")
    for index, layer in enumerate(plan.layers, start=1):
        times = [
            f"{ms:.2f}" if layer.full_ms else ""
            for ms in (layer.full_ms, layer.exact_ms, layer.ms)
        ]
        table.add_row(
            f"{rich.markup.escape(layer.name)} ({number(index)})",
            rich.markup.escape(layer.kernel),
            *times,
            f"{layer.tau:.4f}" if layer.tau else "",
            rich.markup.escape(layer.reason),
        )
    return table


def _summary(plan: PlanFigures) -> str:
    full = _ms(plan.full_step_ms)
    if are_full(layer.method for layer in plan.layers):
        return f" A step of plain Keras takes {full} ms."
    own = _ms(plan.full_step_ms / plan.speed_up)
    text = (
        f" A step takes {own} ms in place of {full}: "
        f"speed-up {plan.speed_up:.2f}x ({plan.predicted_speed_up:.2f}x predicted), "
        f"tau {plan.tau:.3f}, net gain {plan.net:.2f}x"
    )
    if plan.tau == 0:
        return f"{text}."
    return (
        f"{text}: as noisy as if the batch were {plan.effective_batch:.0f} instead of "
        f"{plan.batch_size}."
    )


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _alternatives(plan: PlanFigures) -> rich.table.Table:
    table = rich.table.Table()
    table.add_column("Instead")
    for header in ("Speed-up", "tau", "Net gain"):
        table.add_column(header, justify="right")
    table.add_column("", overflow="fold")
    own = Alternative("this plan", plan.speed_up, plan.tau)
    table.add_row("[bold]this plan[/]", *_cells(own))
    for alternative in plan.alternatives:
        table.add_row(rich.markup.escape(alternative.name), *_cells(alternative))
    return table


def _cells(alternative: Alternative) -> tuple[str, ...]:
    if not alternative.speed_up:
        return "", "", "", rich.markup.escape(alternative.note)
    return (
        f"{alternative.speed_up:.2f}x",
        f"{alternative.tau:.3f}",
        f"{alternative.net:.2f}x",
        rich.markup.escape(alternative.note),
    )


def plot(plan: PlanFigures, axes: Sequence[Axes] | None) -> Sequence[Axes]:
    """Draws the gain by layer, and the net gain over the bound of tau."""
    if axes is None:
        width = min(4.0 + 0.25 * len(plan.layers), 14.0) + 4.5
        _, axes = import_pyplot().subplots(
            1,
            2,
            figsize=(width, 4.2),
            width_ratios=(width - 4.5, 4.5),
            layout="constrained",
        )
    of_layers, of_bounds = axes
    places = range(len(plan.layers))
    exact, approximate = (
        [100 * ms / plan.full_step_ms for ms in saved]
        for saved in (
            [layer.full_ms - layer.exact_ms for layer in plan.layers],
            [max(layer.exact_ms - layer.ms, 0.0) for layer in plan.layers],
        )
    )
    of_layers.bar(places, exact, color="tab:blue", label="exact kernels")
    of_layers.bar(
        places, approximate, bottom=exact, color="tab:orange", label="approximation"
    )
    of_layers.set_xticks(places, [layer.name for layer in plan.layers], rotation=90)
    of_layers.set_ylabel("time saved, % of a step")
    of_layers.set_title(f"{plan.model_name}, batch {plan.batch_size}")
    of_layers.legend()
    bounds, nets = zip(*plan.curve, strict=True)
    of_bounds.step(bounds, nets, where="post", color="tab:orange", label="plan")
    of_bounds.plot(plan.tau, plan.net, "o", color="black", label="this plan")
    for alternative in plan.alternatives:
        if alternative.speed_up:
            of_bounds.axhline(alternative.net, linestyle=":", color="grey")
            of_bounds.annotate(
                alternative.name,
                (1, alternative.net),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize="small",
            )
    of_bounds.set_xlabel("bound of tau")
    of_bounds.set_ylabel("net gain over plain Keras")
    of_bounds.legend(loc="lower left")
    return axes
