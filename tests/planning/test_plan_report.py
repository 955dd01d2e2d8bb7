"""A plan as text and as pictures."""

import dataclasses
import io
import sys
from collections.abc import Iterator

import matplotlib
import numpy as np
import pytest
import rich.console
from plans import NAMES, plan_by_hand

import tf_approxgrad as tfag

matplotlib.use("Agg")
from matplotlib import pyplot


@pytest.fixture(autouse=True)
def closes_figures() -> Iterator[None]:
    yield
    pyplot.close("all")


# --- Text ----------------------------------------------------------------------------


def test_print_shows_the_verdict_the_layers_and_the_alternatives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = plan_by_hand()
    print(plan)
    text = capsys.readouterr().out
    assert 'Plan for model: "small", batch 64' in text
    assert plan.verdict in text
    lines = text.splitlines()
    for place, layer in enumerate(plan.layers, start=1):
        (line,) = [line for line in lines if f"{layer.name} ({place})" in line]
        for ms in (layer.full_ms, layer.exact_ms, layer.ms):
            assert f"{ms:.2f}" in line
        assert layer.reason in line
    assert "0.0213" in text
    assert plan.machine in text
    for alternative in plan.alternatives:
        (line,) = [line for line in lines if alternative.name in line]
        if alternative.speed_up:
            assert f"{alternative.speed_up:.2f}x" in line
            assert f"{alternative.net:.2f}x" in line
        assert alternative.note in line


def test_print_shows_the_sums() -> None:
    text = " ".join(str(plan_by_hand()).split())
    assert (
        "A step takes 27.6 ms in place of 31: speed-up 1.12x (1.19x predicted)" in text
    )
    assert "tau 0.021, net gain 1.10x" in text
    assert "as if the batch were 63 instead of 64" in text


def test_print_of_a_plan_without_approximation_shows_no_batch() -> None:
    text = " ".join(str(plan_by_hand(tau=0.0)).split())
    assert "tau 0.000, net gain 1.12x." in text
    assert "as if the batch" not in text


def test_short_steps_are_shown_with_their_digits() -> None:
    plan = plan_by_hand(full_step_ms=1.44, predicted_step_ms=1.3, speed_up=1.2)
    text = " ".join(str(plan).split())
    assert "A step takes 1 ms in place of 1" not in text


def test_layer_without_times_shows_none() -> None:
    plan = plan_by_hand()
    frozen = dataclasses.replace(
        plan.layers[2], full_ms=0.0, exact_ms=0.0, ms=0.0, reason="frozen"
    )
    lines = str(plan_by_hand(layers=(*plan.layers[:2], frozen))).splitlines()
    (line,) = [line for line in lines if "third (3)" in line]
    assert "0.00" not in line
    assert "frozen" in line


def test_names_in_brackets_are_no_markup() -> None:
    plan = plan_by_hand()
    layer = dataclasses.replace(plan.layers[0], name="[red]", reason="[bold]")
    plan = plan_by_hand(
        model_name="[blue]",
        layers=(layer, *plan.layers[1:]),
        verdict="[i]",
        machine="[u]",
    )
    text = str(plan)
    for name in ("[red]", "[bold]", "[blue]", "[i]", "[u]"):
        assert name in text


def test_rich_print_is_coloured_and_print_is_not() -> None:
    plan, file = plan_by_hand(), io.StringIO()
    rich.console.Console(file=file, force_terminal=True, width=108).print(plan)
    assert "\x1b[" in file.getvalue()
    assert "\x1b[" not in str(plan)


def test_repr_is_short() -> None:
    expected = "Plan(model_name='small', batch_size=64, speed_up=1.12, tau=0.0213)"
    assert repr(plan_by_hand()) == expected


def test_plain_keras_is_shown_as_such() -> None:
    plan = plan_by_hand(tau=0.0, speed_up=1.0)
    layers = tuple(
        dataclasses.replace(layer, method=tfag.FullGradient()) for layer in plan.layers
    )
    text = str(dataclasses.replace(plan, layers=layers))
    assert "A step of plain Keras takes 31 ms." in text
    assert "in place of" not in text


# --- Pictures ------------------------------------------------------------------------


def test_plot_draws_gains_by_layer_and_over_the_bound() -> None:
    plan = plan_by_hand()
    of_layers, of_bounds = plan.plot()
    assert of_layers.figure is of_bounds.figure
    labels = [text.get_text() for text in of_layers.get_xticklabels()]
    assert labels == list(NAMES)
    exact, approximate = of_layers.containers
    heights = [bar.get_height() for bar in exact]
    assert heights == pytest.approx(
        [100 * (x.full_ms - x.exact_ms) / 31 for x in plan.layers]
    )
    tops = [bar.get_y() + bar.get_height() for bar in approximate]
    assert tops == pytest.approx([100 * (x.full_ms - x.ms) / 31 for x in plan.layers])
    curve, point = of_bounds.lines[:2]
    np.testing.assert_array_equal(np.transpose(curve.get_data()), plan.curve)
    assert np.ravel(point.get_data()).tolist() == [plan.tau, plan.net]
    # Of the alternatives, that which was measured.
    assert [text.get_text() for text in of_bounds.texts] == ["half the batch (32)"]
    for axes in (of_layers, of_bounds):
        assert axes.get_ylabel()
        assert axes.get_legend()


def test_plot_draws_on_given_axes() -> None:
    _, axes = pyplot.subplots(1, 2)
    assert plan_by_hand().plot(axes) is axes
    assert all(one.has_data() for one in axes)
    assert pyplot.get_fignums() == [1]


def test_plot_of_a_plan_that_gains_nothing_is_drawn() -> None:
    plan = plan_by_hand()
    layers = tuple(
        dataclasses.replace(x, method=tfag.FullGradient(), ms=x.full_ms, tau=0.0)
        for x in plan.layers
    )
    plan = plan_by_hand(
        layers=layers, tau=0.0, speed_up=1.0, curve=((0.0, 1.0),), alternatives=()
    )
    for axes in plan.plot():
        assert axes.has_data()


def test_plot_says_what_to_install_where_matplotlib_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="plot needs matplotlib: pip install"):
        plan_by_hand().plot()
