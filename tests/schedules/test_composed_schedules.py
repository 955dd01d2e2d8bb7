"""Combined, Piecewise, Until, Warmup, and Ramp: when they follow their schedules."""

import dataclasses
import json

import keras
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import tf_approxgrad as tfag
from tf_approxgrad.gradients.step_switch import _column
from tf_approxgrad.schedules.periods import segments_of

FULL, MAX, ZERO = tfag.FullGradient(), tfag.MaxGradient(), tfag.ZeroGradient()
ALTERNATE = tfag.Alternate("max")


@keras.saving.register_keras_serializable(package="tf_approxgrad_tests")
@dataclasses.dataclass(frozen=True)
class Mine(tfag.Schedule):
    """A user's schedule of two segments, the second far away."""

    late: int

    def __call__(self, layer, step, replica=0):
        return ZERO if step >= self.late and step % 3 == 0 else MAX

    @property
    def segments(self):
        return ((0, 1), (self.late, 3))


def methods_at(schedule, steps, layer=2):
    return [schedule(layer, step) for step in steps]


def test_piecewise_follows_each_schedule_from_its_boundary():
    schedule = tfag.Piecewise([4, 10], [ALTERNATE, "zero", "full"])
    steps = (0, 1, 3, 4, 9, 10, 10**9)
    assert methods_at(schedule, steps) == [FULL, MAX, MAX, ZERO, ZERO, FULL, FULL]


def test_inner_schedules_see_the_steps_of_training():
    schedule = tfag.Warmup(ALTERNATE, begin=3)
    assert methods_at(schedule, range(6)) == [FULL] * 3 + [MAX, FULL, MAX]


def test_until_is_full_from_its_end():
    schedule = tfag.Until(ALTERNATE, end=3)
    assert methods_at(schedule, range(6)) == [FULL, MAX, FULL, FULL, FULL, FULL]
    assert schedule.fraction(2) == 0


def test_first_of_combined_schedules_that_approximates_a_cell_decides():
    schedule = tfag.Combined(
        [
            tfag.Constant("max", layers=[2]),
            tfag.Constant("zero", layers=[2, 3]),
            tfag.Alternate("sampled", layers=1, steps=2),
        ]
    )
    assert methods_at(schedule, (0, 1), layer=1) == [FULL, tfag.SampledGradient()]
    assert methods_at(schedule, (0, 1), layer=2) == [MAX, MAX]
    assert methods_at(schedule, (0, 1), layer=3) == [ZERO, ZERO]
    assert schedule.fraction(4) == 3 / 4


def test_combined_schedules_repeat_when_all_of_them_do():
    parts = [tfag.EveryNthStep("max", n=4), tfag.EveryNthStep("zero", n=6, start=2)]
    schedule = tfag.Combined([*parts, tfag.Until(tfag.Warmup("sampled", 5), 9)])
    assert schedule.segments == ((0, 12), (5, 12), (9, 12))
    for step in range(40):
        expected = next(
            (
                method
                for method in (part(1, step) for part in schedule.schedules)
                if method != FULL
            ),
            FULL,
        )
        assert schedule.row(1)[schedule.column(step)] == expected


def test_combined_schedules_that_hardly_ever_repeat_together_are_refused():
    periods = [tfag.EveryNthStep("max", n=n) for n in (997, 1009)]
    with pytest.raises(ValueError, match="1,005,973"):
        tfag.Combined(periods).row(1)


def test_compositions_of_compositions_follow_each_other():
    schedule = tfag.Until(tfag.Warmup("max", begin=2), end=4)
    assert methods_at(schedule, range(6)) == [FULL, FULL, MAX, MAX, FULL, FULL]


@pytest.mark.parametrize(
    "schedule",
    [
        tfag.Piecewise([5], [Mine(10**9), tfag.Ramp("zero", 10, 20)]),
        tfag.Combined([tfag.Constant("max", layers=["b"]), Mine(7)]),
        tfag.Until(tfag.Constant("max", layers=lambda layer: layer.name == "b"), 4),
        tfag.Warmup(Mine(7), 3),
        tfag.Ramp(tfag.Constant("max", layers="b"), 2, 5),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_resolved_schedule_comes_back_from_its_file(schedule):
    layers = [keras.layers.Layer(name=name) for name in "ab"]
    resolved = schedule.resolve(layers)
    assert resolved.resolve(layers) == resolved
    text = json.dumps(keras.saving.serialize_keras_object(resolved))
    restored = keras.saving.deserialize_keras_object(json.loads(text))
    assert restored == resolved
    assert restored(2, 3) == resolved(2, 3)


def test_inner_schedule_that_does_not_fit_the_model_is_refused():
    layers = [keras.layers.Layer(name="a")]
    inner = tfag.Constant("max", layers=[2])
    for schedule in (
        tfag.Piecewise([3], ["full", inner]),
        tfag.Combined([inner, "max"]),
        tfag.Until(inner, 3),
        tfag.Warmup(inner, 3),
        tfag.Ramp(inner, 3, 4),
    ):
        with pytest.raises(ValueError, match=r"from 1 to 1, .*got 2"):
            schedule.resolve(layers)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tfag.Until("max", 0), ValueError, "end must be .* >= 1, got 0"),
        (lambda: tfag.Until("max", 1.5), TypeError, "end must be .* got 1.5"),
        (lambda: tfag.Until(3, 1), TypeError, "schedule must be a schedule or a meth"),
        (lambda: tfag.Until("most", 1), ValueError, "'most'"),
        (
            lambda: tfag.Until({"class_name": "No", "config": {}}, 1),
            ValueError,
            "Keras can't read",
        ),
        (lambda: tfag.Warmup("max", 0), ValueError, "begin must be .* >= 1, got 0"),
        (
            lambda: tfag.Piecewise([3, 3], ["max"] * 3),
            ValueError,
            r"boundaries must increase, got \[3, 3\]",
        ),
        (
            lambda: tfag.Piecewise([3], ["max"]),
            ValueError,
            "schedules must have 2 elements, .* got 1",
        ),
        (lambda: tfag.Combined([]), ValueError, "at least one element, got none"),
        (lambda: tfag.Combined("max"), TypeError, "schedules must be a list"),
        (lambda: tfag.Piecewise([0], ["max"] * 2), ValueError, "boundary .* got 0"),
        (lambda: tfag.Piecewise(3, ["max"]), TypeError, "boundaries must be a list"),
    ],
)
def test_wrong_argument_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


GRAPH_SCHEDULES = [
    ALTERNATE,
    tfag.EveryNthStep("max", n=3, start=8),
    tfag.Piecewise([7, 10**12], [ALTERNATE, Mine(10**7), tfag.EveryNthStep("zero")]),
    tfag.Ramp(ALTERNATE, 100, 10**10),
    tfag.Combined([tfag.EveryNthStep("max", n=6), Mine(10**7), ALTERNATE]),
]


@pytest.fixture(scope="module")
def columns_in_the_graph():
    return [
        tf.function(lambda step, schedule=s: _column(segments_of(schedule), step))
        for s in GRAPH_SCHEDULES
    ]


@given(data=st.data(), number=st.sampled_from(range(len(GRAPH_SCHEDULES))))
def test_graph_finds_the_column_of_every_step(data, number, columns_in_the_graph):
    schedule = GRAPH_SCHEDULES[number]
    begins = [begin for begin, _ in schedule.segments]
    near = [max(0, begin + i) for begin in begins for i in (-1, 0, 1)]
    step = data.draw(st.sampled_from(near) | st.integers(0, 2**62))
    found = columns_in_the_graph[number](tf.constant(step, tf.int64))
    assert int(found) == schedule.column(step)
