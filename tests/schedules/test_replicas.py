"""Schedules that differ by replica."""

import itertools

import keras
import pytest

import tf_approxgrad as tfag

INNER = [
    tfag.Alternate("zero"),
    tfag.EveryNthStep("max", n=3),
    tfag.Until(tfag.Alternate("zero"), end=5),
    tfag.Warmup("zero", begin=4),
    tfag.Piecewise([2, 7], ["zero", tfag.Alternate("max"), "full"]),
]


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("inner", INNER, ids=repr)
def test_staggered_replica_is_as_many_steps_ahead(
    inner: tfag.Schedule, replicas: int
) -> None:
    schedule = tfag.Staggered(inner, replicas)
    for layer, replica in itertools.product((1, 2, 3), range(5)):
        row = schedule.row(layer, replica)
        for step in range(30):
            expected = inner(layer, step + replica % replicas)
            assert schedule(layer, step, replica) == expected
            assert row[schedule.column(step)] == expected
        assert row == schedule.row(layer, replica % replicas)


def test_some_replicas_compute_at_every_step() -> None:
    schedule = tfag.Staggered(tfag.Alternate("zero"), replicas=2)
    for step in range(6):
        methods = {schedule(2, step, replica).label for replica in range(2)}
        assert methods == {"full", "zero"}


@pytest.mark.parametrize(
    "schedule",
    [
        tfag.Staggered(tfag.Alternate("zero"), 2, mean_over="computed"),
        tfag.TableSchedule([[("full", "zero"), ("zero", "max")]], mean_over="computed"),
        tfag.TableSchedule([["full", "zero"]]),
    ],
    ids=repr,
)
def test_configuration_gives_the_schedule_back(schedule: tfag.Schedule) -> None:
    config = keras.saving.serialize_keras_object(schedule)
    assert keras.saving.deserialize_keras_object(config) == schedule


def test_tables_have_cells_for_replicas() -> None:
    schedule = tfag.TableSchedule(
        [[("full", "max"), ("zero", "full")], [("max", "max"), ("full", "full")]]
    )
    assert schedule.replicas == 2
    labels = [[schedule(1, s, r).label for r in range(3)] for s in range(2)]
    assert labels == [["full", "max", "full"], ["zero", "full", "zero"]]
    assert [method.label for method in schedule.rows(1)] == [
        *("full", "zero"),
        *("max", "full"),
    ]


def test_composed_schedules_differ_as_their_parts_do() -> None:
    two = tfag.Staggered(tfag.Alternate("zero"), 2, mean_over="computed")
    three = tfag.Staggered("zero", 3)
    assert tfag.Combined([two, three]).replicas == 6
    until = tfag.Until(two, end=3)
    assert (until.replicas, until.mean_over) == (2, "computed")
    assert until(2, 0, 1) == two(2, 0, 1)
    assert tfag.Until("zero", end=3).replicas == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: tfag.Staggered("zero", 0),
            "replicas must be an integer >= 1, got 0",
        ),
        (
            lambda: tfag.Staggered("zero", 2, mean_over="some"),
            "mean_over must be 'all' or 'computed', got 'some'",
        ),
        (
            lambda: tfag.Staggered(tfag.Staggered("zero", 2), 2),
            "schedule must be the same on every replica, got Staggered",
        ),
        (
            lambda: tfag.TableSchedule([["full", ("zero", "max")]]),
            "got 1 of 2 cells with [2] methods",
        ),
        (
            lambda: tfag.TableSchedule([[("full",), ("zero", "max")]]),
            "got 2 of 2 cells with [1, 2] methods",
        ),
        (lambda: tfag.TableSchedule([[()]]), "got 1 of 1 cells with [0] methods"),
    ],
)
def test_bad_arguments_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        make()
    assert message in str(raised.value)
