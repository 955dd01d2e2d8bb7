"""What every schedule promises: periodicity, comparison, serialisation."""

import copy
import dataclasses
import json
import pickle

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tf_approxgrad as tfag

FULL = tfag.FullGradient()
MAX = tfag.MaxGradient()

METHODS = st.one_of(
    st.sampled_from(["full", "zero", "random", "max"]),
    st.builds(
        tfag.MaxGradient, k=st.integers(1, 9), scale=st.just("batch") | st.just(2)
    ),
    st.builds(tfag.RandomGradient, stddev=st.none() | st.floats(0, 1)),
)
SMALL = st.integers(1, 12)
LAYER_COUNT = 12
SIMPLE_SCHEDULES = st.one_of(
    st.builds(tfag.EveryNthLayer, METHODS, n=SMALL, start=SMALL),
    st.builds(tfag.Alternate, METHODS, layers=SMALL, steps=SMALL),
    st.builds(tfag.EveryNthStep, METHODS, n=SMALL, start=st.integers(0, 40)),
    st.builds(tfag.Constant, METHODS, layers=st.none() | st.sets(SMALL, min_size=1)),
    SMALL.flatmap(
        lambda steps: st.lists(
            st.lists(METHODS, min_size=steps, max_size=steps),
            min_size=LAYER_COUNT,
            max_size=LAYER_COUNT,
        )
    ).map(tfag.TableSchedule),
)

STEPS = st.one_of(st.integers(1, 60), st.integers(10**6, 10**12))


def ramps(parts):
    bounds = st.tuples(st.integers(0, 10**9), STEPS)
    shares = st.tuples(st.floats(0, 1), st.floats(0, 1))
    return st.builds(
        lambda part, bounds, shares, resolution: tfag.Ramp(
            part, bounds[0], sum(bounds), *shares, resolution
        ),
        parts,
        bounds,
        shares,
        st.integers(1, 6),
    )


def compositions(parts):
    pieces = st.lists(STEPS, max_size=3, unique=True).flatmap(
        lambda steps: st.builds(
            tfag.Piecewise,
            st.just(sorted(steps)),
            st.lists(parts, min_size=len(steps) + 1, max_size=len(steps) + 1),
        )
    )
    return st.one_of(
        pieces,
        st.builds(tfag.Until, parts, STEPS),
        st.builds(tfag.Warmup, parts, STEPS),
    )


# Of simple ones, whose periods have common multiples that aren't large.
COMBINED = st.builds(tfag.Combined, st.lists(SIMPLE_SCHEDULES, min_size=1, max_size=2))
COMPOSED = compositions(
    compositions(SIMPLE_SCHEDULES) | ramps(SIMPLE_SCHEDULES) | COMBINED
)
SCHEDULES = SIMPLE_SCHEDULES | COMPOSED


@keras.saving.register_keras_serializable(package="tf_approxgrad_tests")
@dataclasses.dataclass(frozen=True)
class CheapStart(tfag.Schedule):
    """A user's schedule: approximates up to a step, then never again."""

    until: int

    def __call__(self, layer, step, replica=0):
        return MAX if step < self.until else FULL

    @property
    def prefix(self):
        return self.until


@given(SIMPLE_SCHEDULES, st.integers(1, LAYER_COUNT), st.integers(0, 10**12))
def test_the_row_holds_a_prefix_and_a_period(schedule, layer, step):
    row = schedule.row(layer)
    assert len(row) == schedule.prefix + schedule.period
    in_period = schedule.prefix + (step - schedule.prefix) % schedule.period
    index = step if step < schedule.prefix else in_period
    assert schedule.column(step) == index
    assert schedule(layer, step) == row[index]


def steps_near_the_edges(schedule):
    begins = [segment.begin for segment in schedule.segments]
    near = [begin + offset for begin in begins for offset in (-2, -1, 0, 1, 2, 31)]
    return st.sampled_from([step for step in near if step >= 0])


@given(st.data(), COMPOSED, st.integers(1, LAYER_COUNT))
def test_the_row_of_a_composed_schedule_holds_the_method_of_every_step(
    data, schedule, layer
):
    steps = steps_near_the_edges(schedule) | st.integers(0, 10**12)
    step = data.draw(steps)
    assert schedule.row(layer)[schedule.column(step)] == schedule(layer, step)


@given(SCHEDULES)
def test_fraction_is_the_share_of_cells_in_the_last_segment(schedule):
    begin, period = schedule.segments[-1]
    methods = [
        schedule(layer, step)
        for layer in range(1, LAYER_COUNT + 1)
        for step in range(begin, begin + period)
    ]
    expected = 1 - methods.count(FULL) / len(methods)
    assert schedule.fraction(LAYER_COUNT) == pytest.approx(expected)


@given(SCHEDULES, st.integers(1, 100))
def test_fraction_of_the_first_steps_counts_their_cells(schedule, steps):
    cells = [
        schedule(layer, step) != FULL for layer in (1, 2, 3) for step in range(steps)
    ]
    assert schedule.fraction(3, steps=steps) == pytest.approx(sum(cells) / len(cells))


@given(SCHEDULES)
def test_every_schedule_survives_its_config_and_json(schedule):
    config = json.loads(json.dumps(schedule.get_config()))
    again = type(schedule).from_config(config)
    assert again == schedule
    assert hash(again) == hash(schedule)


@given(SCHEDULES)
def test_every_schedule_survives_keras_serialisation_and_json(schedule):
    text = json.dumps(keras.saving.serialize_keras_object(schedule))
    assert keras.saving.deserialize_keras_object(json.loads(text)) == schedule


@given(SCHEDULES, SCHEDULES)
def test_schedules_are_equal_exactly_where_class_and_arguments_are(one, other):
    same = type(one) is type(other) and one.get_config() == other.get_config()
    assert (one == other) == same
    assert len({one, other}) == 1 + (not same)


@given(SCHEDULES)
def test_copies_are_equal(schedule):
    assert copy.deepcopy(schedule) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert dataclasses.replace(schedule) == schedule


def test_schedules_are_immutable():
    schedule = tfag.EveryNthStep("max")
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.n = 2


def test_the_base_class_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        tfag.Schedule()


@pytest.mark.parametrize(
    ("schedule", "layers", "fraction"),
    [
        (tfag.EveryNthLayer("max"), 19, 5 / 19),
        (tfag.EveryNthLayer("max"), 16, 4 / 16),
        (tfag.Alternate("max"), 2, 1 / 4),
        (tfag.Alternate("max"), 19, 9 / 19 / 2),
        (tfag.EveryNthStep("max"), 19, 1 / 4),
        (tfag.EveryNthStep("max", n=2, start=9), 3, 1 / 2),
        (tfag.TableSchedule([["full", "max", "zero"], ["full"] * 3]), 2, 1 / 3),
        (tfag.Constant("max"), 4, 1.0),
        (tfag.Constant("full"), 4, 0.0),
        (CheapStart(5), 4, 0.0),
    ],
)
def test_fraction_of_the_known_schedules(schedule, layers, fraction):
    assert schedule.fraction(layers) == pytest.approx(fraction)


def test_a_schedule_of_the_users_own_works_like_the_others():
    schedule = CheapStart(until=3)
    assert schedule.row(1) == (MAX, MAX, MAX, FULL)
    assert [schedule.column(step) for step in range(6)] == [0, 1, 2, 3, 3, 3]
    text = json.dumps(keras.saving.serialize_keras_object(schedule))
    assert keras.saving.deserialize_keras_object(json.loads(text)) == schedule


def test_a_schedule_of_the_users_own_may_return_names():
    class ByName(tfag.Schedule):
        def __call__(self, layer, step, replica=0):
            return "zero" if replica else "max"

    assert ByName().row(1) == (MAX,)
    assert ByName().row(1, replica=1) == (tfag.ZeroGradient(),)
    assert ByName().fraction(2) == 1.0


def test_row_refuses_a_schedule_that_forgot_its_period():
    class Forgetful(tfag.Schedule):
        def __call__(self, layer, step, replica=0):
            return MAX if step % 50 == 49 else FULL

    message = r"period 1 they promise FullGradient\(\) for layer 2 at step 49"
    with pytest.raises(ValueError, match=message):
        Forgetful().row(2)


@pytest.mark.parametrize(
    ("prefix", "period", "error", "message"),
    [
        (-1, 1, ValueError, "prefix must be an integer >= 0, got -1"),
        (0, 0, ValueError, "period must be an integer >= 1, got 0"),
        (0, 2.0, TypeError, "period must be an integer >= 1, got 2.0"),
    ],
)
def test_row_refuses_a_prefix_and_period_that_make_no_sense(
    prefix, period, error, message
):
    class Wrong(tfag.Schedule):
        def __call__(self, layer, step, replica=0):
            return FULL

    Wrong.prefix, Wrong.period = prefix, period
    with pytest.raises(error, match=message):
        Wrong().row(1)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([], "begin at step 0 .*got those that begin at \\[\\]"),
        ([(1, 1)], r"begin at step 0 .*\[1\]"),
        ([(0, 1), (5, 1), (5, 1)], r"\[0, 5, 5\]"),
        ([(0, 2), (9, 0)], "period must be an integer >= 1, got 0"),
        ([(0, 10**7)], "at most 1,000,000 steps .* got 10,000,000"),
        ([(0, 1), (9, 1)], r"step 0 with period 1 they promise .* at step 8"),
    ],
)
def test_row_refuses_segments_that_make_no_sense(segments, message):
    class Wrong(tfag.Schedule):
        def __call__(self, layer, step, replica=0):
            return MAX if step == 8 else FULL

    Wrong.segments = segments
    with pytest.raises(ValueError, match=message):
        Wrong().row(1)


def test_a_long_segment_needs_no_long_row():
    schedule = tfag.Until(tfag.Alternate("max"), end=10**15)
    assert schedule.row(2) == (FULL, MAX, FULL)
    assert schedule.column(10**15 - 1) == 1
    assert schedule.column(10**15) == 2


def test_row_refuses_a_schedule_that_returns_no_method():
    class Nothing(tfag.Schedule):
        def __call__(self, layer, step, replica=0):
            return None

    with pytest.raises(TypeError, match=r"method must be .*got None"):
        Nothing().row(1)


def test_a_schedule_that_is_no_dataclass_must_say_its_config():
    class Plain(tfag.Schedule):
        def __call__(self, layer, step, replica=0):
            return FULL

    with pytest.raises(NotImplementedError, match="Plain must be a dataclass or"):
        Plain().get_config()
    assert Plain() != Plain()


def test_column_refuses_a_negative_step():
    with pytest.raises(ValueError, match="step must be an integer >= 0, got -1"):
        tfag.Alternate("max").column(-1)
