"""Predictions of what a plan's noise costs."""

import dataclasses
import json
import math

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest

import tf_approxgrad as tfag

BATCH = 128


def make_plan(
    tau: float = 0.25,
    noise_batch: float = 0.0,
    method: tfag.GradientMethod | None = None,
) -> tfag.Plan:
    layer = tfag.planning.figures.LayerPlan(
        "conv", (3, 3, 1, 1), method or tfag.ExactGradient(), "", 1.0, 1.0, 1.0, tau, ""
    )
    return tfag.Plan(
        model_name="model",
        layers=(layer,),
        batch_size=BATCH,
        full_step_ms=1.0,
        exact_step_ms=1.0,
        predicted_step_ms=1.0,
        speed_up=1.0,
        tau=tau,
        max_extra_variance=1.0,
        counts_by_layer=True,
        noise_batch=noise_batch,
        curve=((0.0, 1.0),),
        alternatives=(),
        machine="machine",
        verdict="verdict",
    )


def line(size: int) -> dict[str, float]:
    """A run of a network of linear loss and accuracy in 1 / sqrt(batch size)."""
    return {"loss": 0.2 + size**-0.5, "accuracy": 0.9 - 0.2 * size**-0.5}


def history_of(logs: dict[str, list[float]], steps: int) -> keras.callbacks.History:
    history = keras.callbacks.History()
    history.history = logs
    history.set_params({"steps": steps, "epochs": len(logs["loss"])})
    return history


@pytest.mark.parametrize("tau", [0.0, 0.25, 1.0, 2.9])
def test_prediction_is_the_exact_run_at_the_batch_that_is_as_noisy(tau: float) -> None:
    runs = {size: line(size) for size in (128, 96, 64, 32)}
    found = make_plan().predict(runs, tau=tau)
    assert found.effective_batch == BATCH / (1 + tau)
    expected = line(BATCH / (1 + tau))
    assert found.loss == pytest.approx(expected["loss"])
    assert found.accuracy == pytest.approx(expected["accuracy"])
    lost = expected["loss"] - line(BATCH)["loss"]
    assert found.lost_loss == pytest.approx(lost)
    assert found.lost_accuracy == pytest.approx(0.2 * lost)
    assert not found.is_extrapolated


def test_tau_of_the_plan_is_the_default() -> None:
    plan = make_plan(tau=0.5)
    runs = {size: line(size) for size in (128, 64)}
    assert plan.predict(runs) == plan.predict(runs, tau=0.5)


def test_line_is_that_of_least_squares() -> None:
    losses = [(128, 0.20), (64, 0.31), (64, 0.29), (32, 0.37), (16, 0.60)]
    found = make_plan().predict([tfag.BatchRun(*x) for x in losses], tau=2.0)
    sizes, values = np.array(losses).T
    fitted = np.polynomial.Polynomial.fit(sizes**-0.5, values, 1)
    assert found.loss == pytest.approx(fitted((BATCH / 3) ** -0.5))
    assert found.loss - found.lost_loss == pytest.approx(fitted(BATCH**-0.5))
    assert found.accuracy is None


def test_less_noise_never_costs_more() -> None:
    runs = [tfag.BatchRun(*run) for run in ((128, 0.30), (64, 0.28), (32, 0.29))]
    found = make_plan().predict(runs, tau=1.0)
    assert found.lost_loss == 0
    assert found.loss == pytest.approx(0.29)


@pytest.mark.parametrize(
    ("sizes", "tau"), [((128, 64), 3.0), ((64, 32), 0.5), ((96, 64), 0.0)]
)
def test_beyond_the_runs_the_curve_goes_on_and_says_so(sizes, tau: float) -> None:
    found = make_plan().predict({size: line(size) for size in sizes}, tau=tau)
    assert found.is_extrapolated
    assert found.loss == pytest.approx(line(BATCH / (1 + tau))["loss"])
    assert "extrapolated" in str(found)


def test_accuracy_stays_between_0_and_1() -> None:
    runs = {128: {"loss": 0.1, "acc": 0.5}, 64: {"loss": 0.1, "acc": 0.1}}
    assert make_plan().predict(runs, tau=3.0).accuracy == 0


@hypothesis.given(
    st.lists(
        st.tuples(st.integers(16, 256), st.floats(0, 5)),
        min_size=2,
        unique_by=lambda run: run[0],
    ),
    st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
)
@hypothesis.settings(deadline=None)
def test_more_noise_never_costs_less(runs, taus) -> None:
    runs = [*runs, (128, 1.0), (8, 2.0)]
    runs = [tfag.BatchRun(*run) for run in runs]
    less, more = (make_plan().predict(runs, tau=tau) for tau in taus)
    assert 0 <= less.lost_loss <= more.lost_loss + 1e-9


def test_deviation_is_that_of_the_prediction_over_other_runs() -> None:
    generator = np.random.default_rng(1)
    sizes, deviation = (128, 64, 32), 0.01
    plan = make_plan()

    def predict() -> tfag.Prediction:
        runs = [
            tfag.BatchRun(size, line(size)["loss"] + generator.normal(0, deviation))
            for size in sizes
            for _ in range(3)
        ]
        return plan.predict(runs, tau=1.5)

    found = [predict() for _ in range(60)]
    measured = np.std([x.lost_loss for x in found])
    claimed = math.sqrt(np.mean([x.loss_deviation**2 for x in found]))
    assert claimed == pytest.approx(measured, rel=0.3)


def test_two_runs_have_no_deviation() -> None:
    found = make_plan().predict({size: line(size) for size in (128, 64)})
    assert found.loss_deviation is None
    assert found.accuracy_deviation is None


def test_histories_end_with_the_mean_of_their_last_tenth() -> None:
    def logs(size: int) -> dict[str, list[float]]:
        end = line(size)
        losses = [3.0] * 18 + [end["loss"] - 0.1, end["loss"] + 0.1]
        valid = [0.1] * 18 + [end["accuracy"] - 0.01, end["accuracy"] + 0.01]
        return {"loss": losses, "accuracy": [1.0] * 20, "val_accuracy": valid}

    histories = {size: history_of(logs(size), 10) for size in (128, 64)}
    dicts = {size: logs(size) for size in (128, 64)}
    expected = make_plan().predict({size: line(size) for size in (128, 64)})
    for runs in (histories, dicts):
        found = make_plan().predict(runs)
        assert found.loss == pytest.approx(expected.loss)
        assert found.accuracy == pytest.approx(expected.accuracy)


@pytest.mark.parametrize(
    ("noise_batch", "factor"), [(0.0, 1.5), (128.0, 1.25), (384.0, 1.375)]
)
def test_noise_scale_tells_how_many_more_steps(
    noise_batch: float, factor: float
) -> None:
    found = make_plan(tau=0.5, noise_batch=noise_batch).predict()
    assert found.steps_factor == factor
    assert found.loss is None
    assert f"{factor:.2f} times as many steps" in str(found)


def test_history_tells_the_loss_that_factor_earlier() -> None:
    plan = make_plan(tau=0.5, noise_batch=128.0)
    # The mean over a tenth of a loss that falls by 0.01 a step.
    losses = [1 - 0.01 * step for step in range(100)]
    expected = np.mean([1 - 0.01 * step for step in range(70, 80)])
    found = plan.predict(history=losses)
    assert found.loss == pytest.approx(expected)
    assert found.lost_loss == pytest.approx(0.2)
    assert found.accuracy is None
    logs = {"loss": losses, "acc": [0.5 + 0.001 * step for step in range(100)]}
    found = plan.predict(history=history_of(logs, 1))
    assert found.lost_loss == pytest.approx(0.2)
    assert found.lost_accuracy == pytest.approx(0.02)


def test_exact_plans_lose_nothing() -> None:
    plan = make_plan(tau=0.0, noise_batch=100.0)
    for arguments in (
        {},
        {"runs": {size: line(size) for size in (128, 64)}},
        {"history": [1.0, 0.5]},
    ):
        found = plan.predict(**arguments)
        assert found.steps_factor == 1
        assert not found.lost_loss
        assert "as noisy as exact training" in str(found)


@pytest.mark.parametrize(
    "method", [tfag.MaxGradient(), tfag.SampledGradient(scale=0.5)]
)
def test_biased_methods_are_named(method: tfag.GradientMethod) -> None:
    found = make_plan(method=method).predict()
    assert found.biased == (method.name,)
    assert f"But {method.name} is biased" in str(found)
    unbiased = make_plan(method=tfag.RowSampledGradient(0.5)).predict()
    assert unbiased.biased == ()


def test_sentence_has_what_is_lost_with_its_deviation() -> None:
    runs = {
        128: [{"loss": 0.28, "acc": 0.892}, {"loss": 0.29, "acc": 0.89}],
        64: {"loss": 0.34, "acc": 0.88},
    }
    text = str(make_plan().predict(runs))
    assert text == (
        "With tau 0.25, training is as noisy as with batch 102 instead of 128: final "
        "training loss 0.301 (+0.016 ± 0.002), accuracy 88.8% (-0.31 ± 0.05 points) "
        "after as many steps."
    )


def test_json_holds_a_prediction() -> None:
    runs = {size: line(size) for size in (128, 64)}
    found = make_plan(method=tfag.MaxGradient()).predict(runs)
    values = json.loads(json.dumps(dataclasses.asdict(found)))
    assert tfag.Prediction(**values | {"biased": tuple(values["biased"])}) == found


GOOD = {size: line(size) for size in (128, 64)}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"runs": {128: 0.3}}, ValueError, r"at least 2 batch sizes, got \[128\]"),
        ({"runs": []}, ValueError, r"at least 2 batch sizes, got \[\]"),
        (
            {"runs": {128: 0.3, 64: math.nan}},
            ValueError,
            r"runs\[64\] must have finite numbers in 'loss', got nan",
        ),
        (
            {"runs": {128: {"acc": 0.3}, 64: 0.3}},
            ValueError,
            r"runs\[128\] must have finite numbers in 'loss', got None",
        ),
        ({"runs": {128: "no", 64: 0.3}}, TypeError, r"runs\[128\] must have finite"),
        (
            {"runs": {128: 0.3, 64: {"loss": 0.3, "acc": 1.5}}},
            ValueError,
            "accuracy of the run with batch_size=64 must be a number from 0 to 1",
        ),
        ({"runs": {128: 0.3, "64": 0.3}}, TypeError, "a batch size of runs must be"),
        ({"runs": {128: 0.3, 0: 0.3}}, ValueError, "must be an integer >= 1, got 0"),
        (
            {"runs": {128: [0.9, 0.5], 64: [0.9, 0.6]}},
            TypeError,
            r"runs\[128\] must be a list of runs, .* got 0.9 \(float\)",
        ),
        (
            {"runs": {128: tfag.BatchRun(64, 0.3)}},
            ValueError,
            r"runs\[128\] must be a run with batch_size=128",
        ),
        ({"runs": [0.3, 0.4]}, TypeError, "runs must be a list of BatchRun"),
        ({"runs": "runs"}, TypeError, "runs must be a list of BatchRun"),
        (
            {
                "runs": [
                    tfag.BatchRun(128, 0.3, steps=100),
                    tfag.BatchRun(64, 0.4, steps=200),
                ]
            },
            ValueError,
            "the same number of steps.*, got 100, 200: pass steps_per_epoch",
        ),
        (
            {
                "runs": {
                    size: history_of({"loss": [1.0, 0.5]}, 1280 // size)
                    for size in (128, 64)
                }
            },
            ValueError,
            "the same number of steps.*, got 20, 40",
        ),
        (
            {"runs": GOOD, "tau": 3.1},
            ValueError,
            r"batch sizes \[64, 128\], but tau=3.1 .* batch 31.2: add .* at most 62",
        ),
        (
            {"runs": {size: line(size) for size in (32, 16)}},
            ValueError,
            r"batch sizes \[16, 32\], but the plan's is 128: add .* at least 64",
        ),
        ({"runs": GOOD, "tau": -0.1}, ValueError, "tau must be .* got -0.1"),
        ({"runs": GOOD, "tau": math.nan}, ValueError, "tau must be .* got nan"),
        ({"tau": "0.1"}, TypeError, "tau must be .* got '0.1'"),
        ({"runs": GOOD, "history": [0.3]}, ValueError, "must not both be given"),
        ({"history": []}, ValueError, "history must have finite numbers in 'loss'"),
        ({"history": [0.5, math.inf]}, ValueError, "history must have finite numbers"),
        ({"history": [0.5]}, ValueError, "history must have at least 2 values"),
    ],
)
def test_errors_name_argument_value_and_what_is_allowed(
    arguments, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_plan().predict(**arguments)


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": 0, "loss": 0.3},
        {"batch_size": 64, "loss": math.inf},
        {"batch_size": 64, "loss": 0.3, "accuracy": -0.1},
        {"batch_size": 64, "loss": 0.3, "steps": 0},
    ],
)
def test_impossible_runs_are_refused(values) -> None:
    with pytest.raises(ValueError, match="must be"):
        tfag.BatchRun(**values)
