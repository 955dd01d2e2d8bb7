"""FidelityReport: its table, its file and its picture."""

import csv
import dataclasses
import math
import sys

import matplotlib
import pytest

import tf_approxgrad as tfag
from tf_approxgrad.measure.report import FidelityRow

matplotlib.use("Agg")
from matplotlib import pyplot

MEASURES = ("cosine", "relative_error", "norm_ratio", "bias", "variance")
METHODS = {
    tfag.FullGradient(): (1.0, 0.0, 1.0, 0.0, 0.0),
    tfag.ZeroGradient(): (0.0, 1.0, 0.0, 1.0, 0.0),
    tfag.MaxGradient(k=2): (1 / 3, 1234.5678, 0.0123456, 1234.5678, 0.0),
    tfag.RandomGradient(): (-0.012, 1.1**0.5, 0.1, 1.0, 0.1),
}
NAMES = ("a", "b[1]")


def numbers(row):
    return [getattr(row, name) for name in MEASURES]


@pytest.fixture
def report():
    rows = [
        FidelityRow(name, index, method, *values, dense_ms=index / 3, method_ms=0.1)
        for index, name in enumerate(NAMES, start=1)
        for method, values in METHODS.items()
    ]
    return tfag.FidelityReport("net", tuple(rows))


@pytest.fixture
def untimed(report):
    rows = [
        dataclasses.replace(row, dense_ms=math.nan, method_ms=math.nan)
        for row in report.rows
    ]
    return dataclasses.replace(report, rows=tuple(rows))


def test_report_reads_as_a_table(report):
    title, *lines = str(report).splitlines()
    assert title == 'Fidelity of filter gradients of model: "net"'
    header, *cells = [
        [cell.strip() for cell in line[1:-1].replace("┃", "│").split("│")]
        for line in lines
        if line[0] in "┃│"
    ]
    assert header == [
        *("Layer, methods", "Cosine", "Error", "Norm ratio", "Bias", "Variance"),
        *("Dense ms", "ms"),
    ]
    for name, layer in ("a (1)", cells[:5]), ("b[1] (2)", cells[5:]):
        rows = [row for row in report.rows if name.startswith(row.layer)]
        assert layer[0][:6] == [name, *[""] * 5]
        assert float(layer[0][6]) == pytest.approx(rows[0].dense_ms, rel=5e-3)
        assert layer[1][:6] == ["full", "1.00", "0.00", "1.00", "0.00", "0.00"]
        for line, row in zip(layer[1:], rows, strict=True):
            assert line.pop(6) == ""
            assert line[0] == row.method.label
            shown = [float(x) for x in line[1:]]
            assert shown == pytest.approx([*numbers(row), row.method_ms], rel=5e-3)


def test_report_without_times_has_no_columns_of_times(untimed):
    header = str(untimed).splitlines()[2]
    assert "Variance" in header
    assert "ms" not in header


def test_layers_without_a_gradient_are_named_below_the_table(report):
    report = dataclasses.replace(report, without_gradient=("c", "d"))
    last = str(report).splitlines()[-1]
    assert last == " Without a filter gradient: c, d"


def test_csv_holds_every_number_in_full(report, tmp_path):
    path = tmp_path / "fidelity.csv"
    report.to_csv(path)
    with open(path, newline="") as file:
        read = list(csv.DictReader(file))
    names = [field.name for field in dataclasses.fields(type(report.rows[0]))]
    assert list(read[0]) == [*names, "gradient"]
    for line, row in zip(read, report.rows, strict=True):
        assert (line["layer"], int(line["index"])) == (row.layer, row.index)
        assert (line["method"], line["gradient"]) == (row.method.label, "filter")
        for name in (*MEASURES, "dense_ms", "method_ms"):
            assert float(line[name]) == getattr(row, name)


@pytest.mark.parametrize("measure", [*MEASURES, "method_ms", "speed_up"])
def test_plot_draws_a_line_for_each_method_and_saves(measure, report, tmp_path):
    ax = report.plot(measure)
    labels = [method.label for method in METHODS]
    assert [line.get_label() for line in ax.lines] == labels
    for line, label in zip(ax.lines, labels, strict=True):
        rows = [row for row in report.rows if row.method.label == label]
        assert list(line.get_ydata()) == [getattr(row, measure) for row in rows]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [*NAMES]
    path = tmp_path / "fidelity.png"
    ax.figure.savefig(path)
    assert pyplot.imread(path).std() > 0
    pyplot.close(ax.figure)


@pytest.mark.parametrize(
    ("gradient", "title", "missing"),
    [
        ("filter", "filter gradients", "a filter gradient"),
        ("input", "input gradients", "an input gradient"),
        (
            "propagated",
            "filter gradients behind approximate input gradients",
            "a filter gradient",
        ),
    ],
)
def test_table_file_and_picture_say_which_gradient_they_show(
    gradient, title, missing, report, tmp_path
):
    report = dataclasses.replace(report, gradient=gradient, without_gradient=("c",))
    first, *_, last = str(report).splitlines()
    assert first == f'Fidelity of {title} of model: "net"'
    assert last == f" Without {missing}: c"
    report.to_csv(tmp_path / "fidelity.csv")
    with open(tmp_path / "fidelity.csv", newline="") as file:
        assert {line["gradient"] for line in csv.DictReader(file)} == {gradient}
    ax = report.plot()
    assert ax.get_title() == title
    pyplot.close(ax.figure)


def test_plot_draws_on_axes_that_are_given(report):
    figure, ax = pyplot.subplots()
    assert report.plot(ax=ax) is ax
    pyplot.close(figure)


def test_plot_refuses_what_it_cannot_draw(report, untimed, monkeypatch):
    with pytest.raises(ValueError, match=r"measure='angle' must be one of 'cosine', "):
        report.plot("angle")
    with pytest.raises(ValueError, match="measure='speed_up' was not measured"):
        untimed.plot("speed_up")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="plot needs matplotlib: pip install"):
        report.plot()
