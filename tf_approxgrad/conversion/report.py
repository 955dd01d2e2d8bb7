"""`conversion_report`: the convolutions of a model, and which are approximated."""

from __future__ import annotations

import dataclasses

import keras
import rich.console
import rich.markup
import rich.table

from tf_approxgrad.conversion.exact_kernels import label_with_kernel
from tf_approxgrad.conversion.flops import (
    CONVOLUTIONS,
    convertible_share,
    filter_gradient_costs,
    output_shape,
)
from tf_approxgrad.conversion.traversal import (
    all_layers,
    check_model,
    convertible_layers,
    is_approximated,
    reason_not_convertible,
)
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.utils.tables import as_text, number


@dataclasses.dataclass(frozen=True)
class ReportRow:
    """One convolution of a model.

    Attributes:
        name: Name of the layer.
        kind: Name of its class.
        index: Layer index, from 1, or `None` if it can't be converted.
        shape: Output shape, with `None` for unknown sizes; `None` if the layer isn't
            built.
        converted: Whether the layer is converted: its filter gradient follows a
            schedule or a method.
        note: The methods of a converted layer, with that of its input gradient if it
            isn't full, and whether it trains exactly all the same; else the reason
            why it isn't converted. After `exact` and `winograd`, the kernel that
            computes the gradient on a CPU without XLA, if it isn't named by the method:
            `winograd`, `positions` or `dense`, which is TensorFlow's.
        share: Share of the cost (multiply-adds) of the model's exact filter gradients,
            from 0 to 1; `None` if a size isn't known.
        converted_share: The part of `share` that methods can replace: 0 if the layer
            isn't converted, or trains exactly so far; the share of the pointwise
            filters for a `SeparableConv2D`.
    """

    name: str
    kind: str
    index: int | None
    shape: tuple[int | None, ...] | None
    converted: bool
    note: str
    share: float | None
    converted_share: float | None


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """The convolutions of a model: which are converted, and why others aren't.

    `print` shows a table; so does `rich.print`, in colours.

    Attributes:
        model_name: Name of the model.
        rows: One `ReportRow` for each convolution, in the model's layer order.

    Example:

    >>> import keras
    >>> import tf_approxgrad as tfag
    >>> model = keras.Sequential([
    ...     keras.Input((8, 8, 4)),
    ...     keras.layers.Conv2D(4, 3, padding="same", name="first"),
    ...     keras.layers.Conv2D(4, 3, padding="same", name="grouped", groups=4),
    ... ])
    >>> model = tfag.approximate_gradients(model, tfag.Constant("max"))
    >>> report = tfag.conversion_report(model)
    >>> report.converted
    ['first']
    >>> report.skipped
    [('grouped', "groups=4 isn't supported")]
    >>> report.share
    0.8
    """

    model_name: str
    rows: tuple[ReportRow, ...]

    @property
    def converted(self) -> list[str]:
        """Names of the converted layers."""
        return [row.name for row in self.rows if row.converted]

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Names of the layers that can't be converted, each with the reason."""
        return [(row.name, row.note) for row in self.rows if row.index is None]

    @property
    def share(self) -> float | None:
        """The share of the cost of the exact filter gradients that methods can replace.

        From 0 to 1; `None` if a size isn't known.
        """
        shares = [row.converted_share for row in self.rows]
        known = [share for share in shares if share is not None]
        return sum(known) if len(known) == len(shares) else None

    def __str__(self) -> str:
        return as_text(self)

    def __rich_console__(
        self, console: rich.console.Console, options: rich.console.ConsoleOptions
    ) -> rich.console.RenderResult:
        del console, options
        title = f'Filter gradients of model: "{rich.markup.escape(self.model_name)}"'
        yield f"[bold]{title}[/]"
        table = rich.table.Table(show_lines=True)
        for header in (
            "Layer (type)",
            "Index",
            "Output Shape",
            "Cost",
            "Method or reason",
        ):
            right = header in ("Index", "Cost")
            table.add_column(header, justify="right" if right else "left")
        for row in self.rows:
            table.add_row(*_cells(row))
        yield table
        yield (
            f"[bold] Converted: [/]{number(len(self.converted))} of "
            f"{number(len(self.rows))} convolutions, {_percent(self.share)} of the "
            "cost of the exact filter gradients"
        )


def conversion_report(model: keras.Model) -> ConversionReport:
    """Reports which convolutions of a model are converted, and why others aren't.

    Args:
        model: Any Keras model.

    Returns:
        A `ConversionReport`; `str` of it is a table.

    Raises:
        TypeError: If `model` isn't a Keras model.

    Example:

    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model, tfag.Alternate("max"), layers="conv2")
    >>> print(tfag.conversion_report(model))
    Filter gradients of model: "cnn2"
    ┏━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━━━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━━━━━━━━━━━━┓
    ┃ Layer (type)         ┃ Index ┃ Output Shape       ┃  Cost ┃ Method or reason ┃
    ┡━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━━━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━━━━━━━━━━━━┩
    │ conv1 (Conv2D)       │     1 │ (None, 28, 28, 64) │  5.9% │ not converted    │
    ├──────────────────────┼───────┼────────────────────┼───────┼──────────────────┤
    │ conv2 (ApproxConv2D) │     2 │ (None, 14, 14, 64) │ 94.1% │ full, max        │
    └──────────────────────┴───────┴────────────────────┴───────┴──────────────────┘
     Converted: 1 of 2 convolutions, 94.1% of the cost of the exact filter gradients
    """
    check_model(model, built=False)
    indices = {id(layer): i for i, layer in enumerate(convertible_layers(model), 1)}
    layers = [layer for layer in all_layers(model) if isinstance(layer, CONVOLUTIONS)]
    exact = {id(layer) for layer in _trained_exactly(layers)}
    costs = filter_gradient_costs(model)
    known = [costs.get(id(layer)) for layer in layers]
    total = None if None in known else sum(cost for cost in known if cost)
    return ConversionReport(
        model.name,
        tuple(
            _row(layer, indices.get(id(layer)), cost, total, id(layer) in exact)
            for layer, cost in zip(layers, known, strict=True)
        ),
    )


def _trained_exactly(layers: list[keras.layers.Layer]) -> list[ApproximateLayer]:
    """Converted layers whose gradients were exact in training against their schedule.

    By the training step that `fit` traced; in a loop of the user's own, by the traces
    since the conversion, once they approximate another layer.
    """
    converted = [layer for layer in layers if is_approximated(layer)]
    policies = [layer.gradient_policy for layer in converted]
    is_trained = any(policy.approximate_passes for policy in policies)
    return [
        layer
        for layer, policy in zip(converted, policies, strict=True)
        if policy.trains_exactly
        or (policy.trains_exactly is None and is_trained and policy.was_exact())
    ]


def _row(
    layer: keras.layers.Layer,
    index: int | None,
    cost: int | None,
    total: int | None,
    trains_exactly: bool,
) -> ReportRow:
    if is_approximated(layer):
        methods = dict.fromkeys(
            label_with_kernel(layer, method) for method in layer.gradient_policy.row()
        )
        note = ", ".join(methods)
        if trains_exactly:
            note += "; but exact in training: without training=True, or no gradient"
        method = layer.input_gradient
        if method is not None and layer.gradient_policy.makes_input_gradient():
            label = label_with_kernel(layer, method, of_input=True)
            note += f"; input gradient: {label}"
    else:
        note = reason_not_convertible(layer) or "not converted"
        if index is not None and isinstance(layer, ApproximateLayer):
            stock = layer.stock.__name__
            note = f"left exact: a subclass may compute something else than {stock}"
    share = cost / total if cost is not None and total else None
    converted_share = share
    if not is_approximated(layer) or trains_exactly:
        converted_share = 0.0
    elif share is not None:
        converted_share = share * convertible_share(layer)
    return ReportRow(
        layer.name,
        type(layer).__qualname__,
        index,
        output_shape(layer),
        is_approximated(layer),
        note,
        share,
        converted_share,
    )


def _cells(row: ReportRow) -> list[str]:
    """The cells of a row, in the colours of `keras.Model.summary`."""
    shape = "?"
    if row.shape is not None:
        shape = f"({', '.join(number(size) for size in row.shape)})"
    name, kind, note = map(rich.markup.escape, (row.name, row.kind, row.note))
    return [
        f"{name} ([color(33)]{kind}[/])",
        "-" if row.index is None else number(row.index),
        shape,
        _percent(row.share),
        note if row.converted else f"[color(9)]{note}[/]",
    ]


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.1%}"
