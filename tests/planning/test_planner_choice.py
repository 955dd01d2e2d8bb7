"""What a plan chooses and says, from times and variances that are made up."""

from collections.abc import Callable
from typing import Any

import keras
import pytest
from planned_models import FEW, compiled, make_plan

import tf_approxgrad as tfag
from tf_approxgrad.planning import alternatives
from tf_approxgrad.planning.alternatives import BFLOAT16, HALF
from tf_approxgrad.planning.plan_maker import PlanMaker
from tf_approxgrad.planning.variances import Variances

(ROWS,) = FEW
FULL, EXACT = tfag.FullGradient(), tfag.ExactGradient()
# The two layers' gradients are 20 ms of a step of 40 ms by TensorFlow's ops.
SECONDS = {"full": 0.040, "exact": 0.030, "plan": 0.020, HALF: 0.025, BFLOAT16: 0.050}
LAYER_MS = {FULL: 10.0, EXACT: 5.0, ROWS: 1.0}


@pytest.fixture
def planned(
    monkeypatch: pytest.MonkeyPatch, pretend: Callable[..., None]
) -> Callable[..., tfag.Plan]:
    """Makes a plan of two layers from these times, and a tau for each layer."""

    def planned(
        layer_ms: dict[tfag.GradientMethod, float],
        seconds: dict[str, float] | None = None,
        tau: float = 0.01,
        **arguments: Any,
    ) -> tfag.Plan:
        times = LAYER_MS | layer_ms
        pretend(lambda method: times[method], SECONDS | (seconds or {}))
        monkeypatch.setattr(
            Variances,
            "tau",
            lambda self, index, method, by_layer: 0.0 if method.is_exact else tau,
        )
        return make_plan(compiled(), **arguments)

    return planned


def methods_of(plan: tfag.Plan) -> set[tfag.GradientMethod]:
    return {layer.method for layer in plan.layers}


def reasons_of(plan: tfag.Plan) -> set[str]:
    return {layer.reason for layer in plan.layers}


def names_of(plan: tfag.Plan) -> list[str]:
    return [alternative.name for alternative in plan.alternatives]


EXACT_ALTERNATIVE = "exact gradients by the fastest kernels"


def test_methods_that_save_time_for_little_variance_are_chosen(planned: Any) -> None:
    plan = planned({})
    assert methods_of(plan) == {ROWS}
    assert plan.tau == pytest.approx(0.02)
    assert plan.speed_up == pytest.approx(2.0)
    # 40 ms without the 20 ms of both layers, and with 2 ms.
    assert plan.full_step_ms == pytest.approx(40)
    assert plan.exact_step_ms == pytest.approx(30)
    assert plan.predicted_step_ms == pytest.approx(22)
    assert plan.verdict == (
        "Approximate the filter gradients of 2 of 2 layers: a net gain of 1.96x, where "
        "exact gradients by the fastest kernels gain 1.33x."
    )
    assert reasons_of(plan) == {"saves 4.00 ms more than exact kernels"}
    for layer in plan.layers:
        assert (layer.full_ms, layer.exact_ms, layer.ms, layer.tau) == (10, 5, 1, 0.01)
    taus, nets = zip(*plan.curve, strict=True)
    assert taus == pytest.approx((0.0, 0.01, 0.02))
    assert nets == pytest.approx((40 / 30, 40 / 26 / 1.01, 40 / 22 / 1.02))


def test_savings_are_scaled_to_what_exact_kernels_save_in_whole_steps(
    planned: Any,
) -> None:
    # By themselves the kernels save 10 ms, in a step 5.
    plan = planned({}, {"exact": 0.035})
    assert plan.exact_step_ms == pytest.approx(35)
    assert plan.predicted_step_ms == pytest.approx(20 + 2 * (10 - (10 - 1) / 2))
    assert methods_of(plan) == {ROWS}


def test_savings_by_themselves_stand_where_steps_save_more(planned: Any) -> None:
    plan = planned({}, {"exact": 0.025})
    assert plan.exact_step_ms == pytest.approx(30)


def test_exact_kernels_stay_the_choice_of_layers_that_a_first_timing_found_slow(
    monkeypatch: pytest.MonkeyPatch, planned: Any
) -> None:
    found = iter([{"full": 1.0, "exact": 0.9}, {"full": 1.0, "exact": 4 / 3}])
    monkeypatch.setattr(PlanMaker, "_gains", lambda self, calls: next(found))
    plan = planned({}, max_extra_variance=0)
    assert methods_of(plan) == {EXACT}
    assert plan.speed_up == pytest.approx(4 / 3)


def test_alternatives_are_those_measured(planned: Any) -> None:
    plan = planned({})
    exact, half, bfloat16 = plan.alternatives
    assert exact.name == EXACT_ALTERNATIVE
    assert (exact.speed_up, exact.tau) == (pytest.approx(4 / 3), 0)
    assert half.name == "half the batch (4)"
    assert (half.speed_up, half.tau) == (pytest.approx(1.6), 1)
    assert half.net == pytest.approx(0.8)
    assert bfloat16.name == "mixed_bfloat16"
    # Not every processor has such arithmetic.
    if bfloat16.speed_up:
        assert bfloat16.speed_up == pytest.approx(0.8)
        assert "rounding" in bfloat16.note


def test_one_layer_alone_is_approximated_within_the_bound(planned: Any) -> None:
    plan = planned({}, {"plan": 0.026}, max_extra_variance=0.015)
    assert sorted(layer.method.label for layer in plan.layers) == sorted(
        [EXACT.label, ROWS.label]
    )
    assert plan.tau == pytest.approx(0.01)
    assert "of 1 of 2 layers" in plan.verdict
    assert "approximation costs more variance than it saves time" in reasons_of(plan)


@pytest.mark.parametrize("bound", [0, 0.005])
def test_exact_kernels_are_chosen_where_the_bound_leaves_nothing_else(
    planned: Any, bound: float
) -> None:
    plan = planned({}, max_extra_variance=bound)
    assert methods_of(plan) == {EXACT}
    assert plan.tau == 0
    assert plan.speed_up == plan.net == pytest.approx(4 / 3)
    assert plan.predicted_step_ms == plan.exact_step_ms == pytest.approx(30)
    assert plan.verdict == (
        "Exact gradients by the fastest kernels gain 1.33x; no approximation gains 3% "
        "beyond them."
    )
    # Exact gradients are the plan, and nothing else to do.
    assert EXACT_ALTERNATIVE not in names_of(plan)


def test_large_variance_is_not_chosen_within_a_large_bound(planned: Any) -> None:
    plan = planned({}, tau=0.2, max_extra_variance=10.0)
    assert methods_of(plan) == {EXACT}
    assert reasons_of(plan) == {"approximation costs more variance than it saves time"}


def test_infinite_variance_is_never_chosen(planned: Any) -> None:
    plan = planned({}, tau=float("inf"), max_extra_variance=1e300)
    assert methods_of(plan) == {EXACT}
    assert plan.tau == 0


def test_slower_methods_are_not_chosen(planned: Any) -> None:
    plan = planned({ROWS: 6.0})
    assert methods_of(plan) == {EXACT}
    assert reasons_of(plan) == {"nothing is faster"}


def test_full_gradients_may_be_the_fastest_exact_ones(planned: Any) -> None:
    plan = planned({EXACT: 12.0})
    assert methods_of(plan) == {ROWS}
    assert [layer.exact_ms for layer in plan.layers] == [10, 10]
    plan = planned({EXACT: 12.0, ROWS: 11.0})
    assert methods_of(plan) == {FULL}


def test_plain_keras_is_kept_where_nothing_is_faster(planned: Any) -> None:
    plan = planned({EXACT: 10.0, ROWS: 10.0})
    assert methods_of(plan) == {FULL}
    assert (plan.speed_up, plan.tau, plan.net) == (1, 0, 1)
    assert plan.predicted_step_ms == plan.full_step_ms
    assert plan.verdict == (
        "Train as before: the convolutions' gradients are 50% of a step, and the best "
        "choice among the methods would gain 0.0%."
    )
    assert reasons_of(plan) == {"the whole gains too little"}
    exact = plan.alternatives[0]
    assert (exact.name, exact.speed_up, exact.note) == (EXACT_ALTERNATIVE, 1, "")


def test_plain_keras_is_kept_where_little_is_gained(planned: Any) -> None:
    # 1 ms of 40.
    plan = planned({EXACT: 9.5, ROWS: 10.0})
    assert methods_of(plan) == {FULL}
    assert "would gain 2.6%" in plan.verdict
    exact = plan.alternatives[0]
    assert (exact.name, exact.note) == (EXACT_ALTERNATIVE, "predicted")


def test_exact_gradients_are_kept_where_approximation_gains_little(
    planned: Any,
) -> None:
    # 30 ms by exact gradients, 28 * 1.048 by the others.
    plan = planned({ROWS: 4.0}, tau=0.024)
    assert methods_of(plan) == {EXACT}
    assert "no approximation gains 3%" in plan.verdict


def test_plain_keras_is_kept_where_whole_steps_are_not_faster(planned: Any) -> None:
    plan = planned({}, {"exact": 0.041, "plan": 0.042})
    assert methods_of(plan) == {FULL}
    assert (plan.speed_up, plan.tau) == (1, 0)
    assert plan.verdict == (
        "Train as before: layer by layer other gradients looked faster, but whole "
        "steps didn't gain 3%."
    )
    exact = plan.alternatives[0]
    assert (exact.name, exact.note) == (EXACT_ALTERNATIVE, "")
    assert exact.speed_up == pytest.approx(40 / 41)


def test_exact_gradients_are_kept_where_whole_steps_are_faster_so(planned: Any) -> None:
    plan = planned({}, {"exact": 0.030, "plan": 0.030})
    assert methods_of(plan) == {EXACT}
    assert plan.speed_up == pytest.approx(4 / 3)
    assert plan.tau == 0


def test_plain_keras_is_kept_where_whole_steps_gain_little(planned: Any) -> None:
    """Where nothing gains 3%, the plan is plain Keras."""
    plan = planned({}, {"exact": 0.0396, "plan": 0.0402})
    assert methods_of(plan) == {FULL}
    assert plan.speed_up == 1


def test_exact_gradients_are_kept_where_whole_steps_gain_little_beyond(
    planned: Any,
) -> None:
    plan = planned({}, {"exact": 0.0300, "plan": 0.0292})
    assert methods_of(plan) == {EXACT}
    assert plan.speed_up == pytest.approx(4 / 3)


def test_approximate_methods_without_variance_dont_count_as_exact(planned: Any) -> None:
    """As of a layer whose gradient is zero in all minibatches."""
    plan = planned({}, tau=0.0, max_extra_variance=0.05)
    assert plan.exact_step_ms == pytest.approx(30)
    if ROWS in methods_of(plan):
        assert plan.verdict.startswith("Approximate the filter gradients of 2 of 2")
    else:
        assert "Exact gradients by the fastest kernels gain 1.33x" in plan.verdict


def test_frozen_layer_has_no_part_in_the_choice(
    planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = keras.Model.compile

    def frozen(model: keras.Model, *arguments: Any, **named: Any) -> None:
        model.layers[0].trainable = False
        original(model, *arguments, **named)

    monkeypatch.setattr(keras.Model, "compile", frozen)
    plan = planned({})
    assert [layer.method for layer in plan.layers] == [EXACT, ROWS]
    assert plan.layers[0].reason == "frozen"
    assert plan.predicted_step_ms == pytest.approx(31)
    assert "of 1 of 1 layers" in plan.verdict


@pytest.mark.parametrize(
    ("seconds", "name", "net"),
    [({HALF: 0.012}, HALF, "1.67"), ({BFLOAT16: 0.010, HALF: 0.012}, BFLOAT16, "4.00")],
)
def test_verdict_names_an_alternative_that_gains_more(
    planned: Any, monkeypatch: pytest.MonkeyPatch, seconds: Any, name: str, net: str
) -> None:
    # Not every processor has such arithmetic.
    monkeypatch.setattr(alternatives, "_why_not_bfloat16", lambda model: None)
    plan = planned({}, {"plan": 0.026} | seconds)
    assert methods_of(plan) == {ROWS}
    assert plan.verdict.endswith(f" But {name} has a net gain of {net}x.")
