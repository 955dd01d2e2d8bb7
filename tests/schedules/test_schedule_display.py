"""A schedule as text and as a picture."""

import sys

import matplotlib
import pytest

import tf_approxgrad as tfag

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.colors import to_rgba

MIXED = tfag.TableSchedule(
    [
        ["full", "full", "full"],
        ["full", tfag.MaxGradient(k=4), "zero"],
        ["random", "full", "max"],
    ]
)


class Layer:
    def __init__(self, name):
        self.name = name


@pytest.fixture(autouse=True)
def closes_figures():
    yield
    pyplot.close("all")


def drawn_labels(ax):
    """The method of every cell, read back from the colours and the legend."""
    (mesh,) = ax.collections
    by_color = {
        to_rgba(patch.get_facecolor()): text.get_text()
        for patch, text in zip(
            ax.get_legend().get_patches(), ax.get_legend().get_texts(), strict=True
        )
    }
    return [
        [by_color[tuple(color)] for color in row]
        for row in mesh.to_rgba(mesh.get_array())
    ]


def called_labels(schedule, layers, steps):
    return [
        [schedule(layer, step).label for step in range(steps)]
        for layer in range(1, layers + 1)
    ]


def test_preview_is_a_table_with_aligned_columns():
    assert MIXED.preview(layers=3, steps=5).splitlines() == [
        "layer/step         0         1         2         3         4",
        "         1      full      full      full      full      full",
        "         2      full  max(k=4)      zero      full  max(k=4)",
        "         3    random      full       max    random      full",
    ]


def test_preview_shows_the_prefix_and_what_follows():
    schedule = tfag.EveryNthStep("max", n=2, start=3)
    assert schedule.preview(layers=1, steps=7).splitlines() == [
        "layer/step     0     1     2     3     4     5     6",
        "         1  full  full  full   max  full   max  full",
    ]


def test_preview_stays_aligned_with_many_layers_and_steps():
    lines = tfag.EveryNthLayer("max").preview(layers=120, steps=110).splitlines()
    assert len(lines) == 121
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[0].split()[1:] == [str(step) for step in range(110)]
    assert [line.split()[0] for line in lines[1:]] == [str(i) for i in range(1, 121)]
    assert lines[118].split()[1:] == ["max"] * 110
    assert not any(line.endswith(" ") for line in lines)


def test_preview_of_a_models_layers_checks_that_the_schedule_fits():
    layers = [Layer("conv1"), Layer("conv2"), Layer("conv3")]
    assert MIXED.preview(layers, steps=4) == MIXED.preview(3, steps=4)
    with pytest.raises(ValueError, match="table must have 2 rows"):
        MIXED.preview(layers[:2], steps=4)
    with pytest.raises(ValueError, match="table must have 2 rows"):
        MIXED.plot(layers[:2], steps=4)
    with pytest.raises(ValueError, match="table must have 2 rows"):
        MIXED.fraction(layers[:2])


def test_plot_draws_the_method_of_every_cell():
    ax = MIXED.plot(layers=3, steps=7)
    assert drawn_labels(ax) == called_labels(MIXED, 3, 7)


def test_plot_has_cells_centred_on_layers_and_steps_with_layer_1_on_top():
    ax = MIXED.plot(layers=3, steps=7)
    (mesh,) = ax.collections
    corners = mesh.get_coordinates()
    assert corners[:, 0, 1].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert corners[0, :, 0].tolist() == [step - 0.5 for step in range(8)]
    assert ax.get_ylim() == (3.5, 0.5)
    assert ax.get_xlim() == (-0.5, 6.5)


def test_plot_names_its_axes_and_has_integer_ticks():
    ax = MIXED.plot(layers=3, steps=7)
    assert ax.get_xlabel() == "training step"
    assert ax.get_ylabel() == "convolution layer"
    ticks = [*ax.get_xticks(), *ax.get_yticks()]
    assert ticks == [round(tick) for tick in ticks]
    assert {1, 2, 3} <= set(ax.get_yticks())


def test_plot_has_a_colour_for_each_method_and_full_comes_first():
    legend = MIXED.plot(layers=3, steps=3).get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["full", "max", "max(k=4)", "random", "zero"]
    colors = [to_rgba(patch.get_facecolor()) for patch in legend.get_patches()]
    assert len(set(colors)) == 5


def test_plot_tells_many_methods_apart():
    row = ["full", *(tfag.MaxGradient(k=k) for k in range(1, 26))]
    schedule = tfag.TableSchedule([row])
    ax = schedule.plot(layers=1, steps=26)
    assert drawn_labels(ax) == called_labels(schedule, 1, 26)


def test_plot_of_a_single_method_draws_it():
    ax = tfag.Constant("max").plot(layers=2, steps=3)
    assert drawn_labels(ax) == [["max"] * 3] * 2


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        (tfag.EveryNthLayer("max"), 8),
        (tfag.EveryNthStep("max", n=6), 12),
        (tfag.EveryNthStep("max", n=6, start=10), 17),
    ],
)
def test_plot_shows_two_periods_unless_told_otherwise(schedule, steps):
    assert drawn_labels(schedule.plot(layers=2)) == called_labels(schedule, 2, steps)


def test_plot_draws_on_the_axes_that_it_is_given():
    figure, (left, right) = pyplot.subplots(1, 2)
    assert MIXED.plot(layers=3, steps=4, ax=right) is right
    assert drawn_labels(right) == called_labels(MIXED, 3, 4)
    assert not left.collections
    assert pyplot.get_fignums() == [figure.number]


def test_plot_can_be_saved_without_a_display(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("plot must not show anything")

    monkeypatch.setattr(pyplot, "show", refuse)
    path = tmp_path / "schedule.png"
    tfag.Alternate("max").plot(layers=2, steps=6).figure.savefig(path)
    assert pyplot.imread(path).std() > 0


def test_plot_says_what_to_install_where_matplotlib_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="plot needs matplotlib: pip install"):
        tfag.Alternate("max").plot(layers=2)


@pytest.mark.parametrize("show", ["preview", "plot"])
@pytest.mark.parametrize(
    ("layers", "steps", "error", "message"),
    [
        (0, 4, ValueError, "layers must be an integer >= 1, got 0"),
        (True, 4, TypeError, "layers must be an integer >= 1, got True"),
        (2.0, 4, TypeError, "layers must be a sequence .*got 2.0"),
        ("conv", 4, TypeError, "layers must be a sequence .*got 'conv'"),
        ([], 4, ValueError, "layers must hold at least one"),
        (2, 0, ValueError, "steps must be an integer >= 1, got 0"),
        (2, 1.5, TypeError, "steps must be an integer >= 1, got 1.5"),
    ],
)
def test_bad_sizes_are_refused_in_words(show, layers, steps, error, message):
    with pytest.raises(error, match=message):
        getattr(tfag.Alternate("max"), show)(layers, steps)


def test_preview_shows_late_steps():
    schedule = tfag.Until("max", end=10**9)
    text = schedule.preview(layers=1, steps=2, start=10**9 - 1)
    assert text.split() == ["layer/step", "999999999", "1000000000", "1", "max", "full"]


def test_plot_of_many_steps_shows_the_share_of_each_range():
    schedule = tfag.Ramp(tfag.Alternate("max"), begin=0, end=400_000)
    ax = schedule.plot(layers=2, steps=800_000)
    (mesh,) = ax.collections
    shares = mesh.get_array().reshape(2, 400)
    assert (shares[0] == 0).all()
    assert shares[1, 100] == pytest.approx(0.25, abs=0.02)
    assert shares[1, 399] == pytest.approx(0.5)
    assert ax.get_xlim() == (-0.5, 800_000 - 0.5)


def test_plot_begins_where_it_is_told():
    ax = tfag.Alternate("max").plot(layers=2, steps=10, start=1000)
    assert ax.get_xlim() == (999.5, 1009.5)
