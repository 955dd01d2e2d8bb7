"""The schedules of the paper, cell by cell, and which models they fit."""

import dataclasses

import numpy as np
import pytest

import tf_approxgrad as tfag

FULL = tfag.FullGradient()
ZERO = tfag.ZeroGradient()
RANDOM = tfag.RandomGradient()
MAX = tfag.MaxGradient()


@dataclasses.dataclass
class Layer:
    """Stands for a convolution: a schedule reads the name and nothing else."""

    name: str


def make_layers(count):
    return [Layer(f"conv{i}") for i in range(1, count + 1)]


def cells(schedule, layers, steps):
    """The schedule as text, a letter for each cell, a row for each layer."""
    return [
        "".join(schedule(layer, step).label[0] for step in range(steps))
        for layer in range(1, layers + 1)
    ]


def approximated_layers(schedule, layers):
    resolved = schedule.resolve(make_layers(layers))
    return [layer for layer in range(1, layers + 1) if resolved(layer, 0) != FULL]


# The paper's schedules.


def test_schedule_1_approximates_every_fourth_layer_at_every_step():
    assert cells(tfag.EveryNthLayer("max"), layers=11, steps=5) == [
        "fffff",
        "mmmmm",
        "fffff",
        "fffff",
        "fffff",
        "mmmmm",
        "fffff",
        "fffff",
        "fffff",
        "mmmmm",
        "fffff",
    ]


def test_schedule_2_approximates_every_other_layer_at_every_other_step():
    assert cells(tfag.Alternate("max"), layers=5, steps=6) == [
        "ffffff",
        "fmfmfm",
        "ffffff",
        "fmfmfm",
        "ffffff",
    ]


def test_schedule_3_approximates_every_layer_at_every_fourth_step():
    assert cells(tfag.EveryNthStep("max"), layers=3, steps=10) == [
        "fmfffmfffm",
        "fmfffmfffm",
        "fmfffmfffm",
    ]


def test_figure_4_approximates_the_second_of_two_layers_at_every_other_step():
    schedule = tfag.Alternate("zero").resolve(make_layers(2))
    assert cells(schedule, layers=2, steps=6) == ["ffffff", "fzfzfz"]


def test_figure_3_mixes_methods_in_a_table_that_repeats():
    schedule = tfag.TableSchedule(
        [
            ["full", "full", "full", "full"],
            ["full", "zero", "full", "max"],
            [RANDOM, "full", MAX, FULL],
        ]
    ).resolve(make_layers(3))
    assert cells(schedule, layers=3, steps=10) == [
        "ffffffffff",
        "fzfmfzfmfz",
        "rfmfrfmfrf",
    ]


def test_resnet20_has_five_approximated_layers_under_schedule_1():
    assert approximated_layers(tfag.EveryNthLayer("max"), 19) == [2, 6, 10, 14, 18]


def test_vgg19_has_four_approximated_layers_under_schedule_1():
    assert approximated_layers(tfag.EveryNthLayer("max"), 16) == [2, 6, 10, 14]


def test_schedules_do_the_same_on_every_replica():
    for schedule in (
        tfag.EveryNthLayer("max"),
        tfag.Alternate("max"),
        tfag.EveryNthStep("max"),
        tfag.TableSchedule([["full", "max"]] * 4),
        tfag.Constant("max", layers=[2]),
    ):
        for layer in (1, 2, 3, 4):
            assert schedule.row(layer, replica=3) == schedule.row(layer)
            assert schedule(layer, 1, 3) == schedule(layer, 1)


# Their parameters.


def test_every_nth_layer_starts_where_it_is_told():
    assert approximated_layers(tfag.EveryNthLayer("zero", n=3, start=1), 8) == [1, 4, 7]
    assert approximated_layers(tfag.EveryNthLayer("zero", n=2, start=5), 8) == [5, 7]
    assert approximated_layers(tfag.EveryNthLayer("zero", n=1, start=8), 8) == [8]


def test_alternate_takes_any_distances():
    schedule = tfag.Alternate("random", layers=3, steps=4)
    assert cells(schedule, layers=6, steps=9) == [
        "fffffffff",
        "fffffffff",
        "fffrfffrf",
        "fffffffff",
        "fffffffff",
        "fffrfffrf",
    ]
    assert cells(tfag.Alternate("max", layers=1, steps=1), 2, 3) == ["mmm", "mmm"]


@pytest.mark.parametrize(
    ("n", "start", "row", "prefix"),
    [
        (4, 0, "mfffmfff", 0),
        (4, 3, "fffmfffmfffm", 0),
        (4, 4, "ffffmfffmfff", 1),
        (3, 7, "fffffffmffmffm", 5),
        (1, 0, "mmmm", 0),
        (1, 2, "ffmmmm", 2),
    ],
)
def test_every_nth_step_has_a_prefix_where_it_starts_late(n, start, row, prefix):
    schedule = tfag.EveryNthStep("max", n=n, start=start)
    assert cells(schedule, layers=2, steps=len(row)) == [row, row]
    assert (schedule.prefix, schedule.period) == (prefix, n)


def test_only_the_layers_whose_methods_change_have_a_row_that_changes():
    assert tfag.EveryNthLayer("max").row(2) == (MAX,)
    assert tfag.EveryNthLayer("max").row(3) == (FULL,)
    assert tfag.Alternate("max").row(1) == (FULL, FULL)
    assert tfag.Alternate("max").row(2) == (FULL, MAX)
    assert tfag.EveryNthStep("max", n=2, start=3).row(1) == (FULL, FULL, FULL, MAX)
    assert tfag.TableSchedule([["zero", "max"]]).row(1) == (ZERO, MAX)


def test_numpy_integers_become_python_integers():
    schedule = tfag.EveryNthStep("max", n=np.int32(3), start=np.int64(2))
    assert schedule == tfag.EveryNthStep("max", n=3, start=2)
    assert (type(schedule.n), type(schedule.start)) == (int, int)
    assert schedule(np.int64(1), np.int64(5)) == MAX


def test_method_may_be_an_object_a_name_or_a_serialised_method():
    method = tfag.MaxGradient(k=3)
    config = {"class_name": "tf_approxgrad>MaxGradient", "config": {"k": 3}}
    config["registered_name"] = config["class_name"]
    assert tfag.Alternate(method) == tfag.Alternate(config)
    assert tfag.Alternate("max") == tfag.Alternate(tfag.MaxGradient())


def test_equal_tables_are_equal_however_they_are_written():
    lists = tfag.TableSchedule([["full", "max"], ["zero", "full"]])
    tuples = tfag.TableSchedule(((FULL, MAX), (ZERO, FULL)))
    generator = tfag.TableSchedule(iter(row) for row in tuples.table)
    assert lists == tuples == generator
    assert len({lists, tuples, generator}) == 1
    assert lists.table == ((FULL, MAX), (ZERO, FULL))


# Bad input.


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: tfag.EveryNthLayer("maximum"), ValueError, "method .*got 'maximum'"),
        (lambda: tfag.EveryNthLayer(None), TypeError, "method .*got None"),
        (lambda: tfag.EveryNthLayer("max", n=0), ValueError, "n must .*>= 1, got 0"),
        (lambda: tfag.EveryNthLayer("max", n=2.0), TypeError, "n must .*>= 1, got 2.0"),
        (lambda: tfag.EveryNthLayer("max", start=0), ValueError, "start .*>= 1, got 0"),
        (lambda: tfag.EveryNthLayer("max", start=True), TypeError, "start .*got True"),
        (lambda: tfag.Alternate(3), TypeError, "method .*got 3"),
        (lambda: tfag.Alternate("max", layers=0), ValueError, "layers .*>= 1, got 0"),
        (lambda: tfag.Alternate("max", layers="2"), TypeError, "layers .*got '2'"),
        (lambda: tfag.Alternate("max", steps=-1), ValueError, "steps .*>= 1, got -1"),
        (lambda: tfag.Alternate("max", steps=None), TypeError, "steps .*got None"),
        (lambda: tfag.EveryNthStep([]), TypeError, r"method .*got \[\]"),
        (lambda: tfag.EveryNthStep("max", n=0), ValueError, "n must .*>= 1, got 0"),
        (lambda: tfag.EveryNthStep("max", n=1.5), TypeError, "n must .*got 1.5"),
        (lambda: tfag.EveryNthStep("max", start=-1), ValueError, "start .*>= 0, got"),
        (lambda: tfag.EveryNthStep("max", start="0"), TypeError, "start .*got '0'"),
        (lambda: tfag.TableSchedule("full"), TypeError, "table .*got 'full'"),
        (lambda: tfag.TableSchedule(3), TypeError, "table .*list of rows, got 3"),
        (
            lambda: tfag.TableSchedule(["full"]),
            TypeError,
            "a row of table .*got 'full'",
        ),
        (lambda: tfag.TableSchedule([MAX]), TypeError, "a row of table .*got MaxGrad"),
        (lambda: tfag.TableSchedule([]), ValueError, r"table .*at least one row.*\[\]"),
        (lambda: tfag.TableSchedule([[]]), ValueError, r"table .*lengths \[0\]"),
        (
            lambda: tfag.TableSchedule([["full", "max"], ["full"]]),
            ValueError,
            r"table .*rows of the same length.*got rows of lengths \[2, 1\]",
        ),
        (lambda: tfag.TableSchedule([["fool"]]), ValueError, "method .*got 'fool'"),
        (lambda: tfag.TableSchedule([[None]]), TypeError, "method .*got None"),
    ],
)
def test_bad_arguments_are_refused_in_words(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    "schedule",
    [
        tfag.EveryNthLayer("max"),
        tfag.Alternate("max"),
        tfag.EveryNthStep("max"),
        tfag.TableSchedule([["max"]]),
        tfag.Constant("max"),
    ],
)
@pytest.mark.parametrize(
    ("cell", "error", "message"),
    [
        ((0, 0), ValueError, "layer must be an integer >= 1, got 0"),
        ((-1, 0), ValueError, "layer must be an integer >= 1, got -1"),
        ((1, -1), ValueError, "step must be an integer >= 0, got -1"),
        ((1, 0, -1), ValueError, "replica must be an integer >= 0, got -1"),
        ((1.0, 0), TypeError, "layer must be an integer >= 1, got 1.0"),
        ((1, "0"), TypeError, "step must be an integer >= 0, got '0'"),
        ((1, 0, None), TypeError, "replica must be an integer >= 0, got None"),
    ],
)
def test_cells_that_do_not_exist_are_refused(schedule, cell, error, message):
    with pytest.raises(error, match=message):
        schedule(*cell)


def test_a_table_refuses_a_layer_without_a_row():
    schedule = tfag.TableSchedule([["full"], ["max"]])
    with pytest.raises(ValueError, match=r"layer must be from 1 to 2.*got 3"):
        schedule(3, 0)


@pytest.mark.parametrize(
    ("schedule", "count", "message"),
    [
        (tfag.EveryNthLayer("max"), 1, "start .*from 1 to 1.*got 2"),
        (tfag.EveryNthLayer("max", start=9), 8, "start .*from 1 to 8.*got 9"),
        (tfag.Alternate("max"), 1, "layers of Alternate .*from 1 to 1.*got 2"),
        (tfag.Alternate("max", layers=5), 4, "layers .*from 1 to 4.*got 5"),
        (
            tfag.TableSchedule([["max"]] * 2),
            3,
            "table must have 3 rows.*conv1, conv2, conv3.*got 2",
        ),
        (tfag.TableSchedule([["max"]] * 3), 2, "table must have 2 rows.*got 3"),
    ],
)
def test_resolve_refuses_a_model_that_the_schedule_does_not_fit(
    schedule, count, message
):
    with pytest.raises(ValueError, match=message):
        schedule.resolve(make_layers(count))


@pytest.mark.parametrize(
    ("schedule", "count"),
    [
        (tfag.EveryNthLayer("max", start=8), 8),
        (tfag.Alternate("max", layers=4), 4),
        (tfag.EveryNthStep("max", start=100), 1),
        (tfag.TableSchedule([["max"]] * 3), 3),
        (tfag.Constant("max"), 1),
    ],
)
def test_resolve_returns_a_schedule_that_fits_unchanged(schedule, count):
    assert schedule.resolve(make_layers(count)) is schedule


@pytest.mark.parametrize(
    "schedule",
    [
        tfag.EveryNthLayer("max"),
        tfag.Alternate("max"),
        tfag.EveryNthStep("max"),
        tfag.TableSchedule([["max"]]),
        tfag.Constant("max"),
        tfag.Constant("max", layers=["conv1"]),
    ],
)
@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([], ValueError, "layers must hold at least one convertible convolution"),
        (3, TypeError, "layers must be a sequence of .*got 3"),
        ("conv1", TypeError, "layers must be a sequence of .*got 'conv1'"),
        (None, TypeError, "layers must be a sequence of .*got None"),
        (["conv1"], TypeError, "layers must hold layers.*got 'conv1'"),
    ],
)
def test_resolve_refuses_what_is_no_list_of_layers(schedule, layers, error, message):
    with pytest.raises(error, match=message):
        schedule.resolve(layers)
