"""A plan that is made again while training."""

import json
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from adaptive_models import BATCH, data, labels, make_model

import tf_approxgrad as tfag
from tf_approxgrad.training import adaptive_plan

pytestmark = pytest.mark.usefixtures("sampling_is_fast")


def test_fit_approximates_within_the_bound_and_logs_it() -> None:
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(labels(model))
    )
    history = model.fit(
        *data(), BATCH, epochs=2, callbacks=[adaptive, watch], verbose=0
    )
    assert seen[:8] == [["exact", "exact"]] * 8
    assert any(label.startswith("row-sampled") for label in seen[8])
    assert 0 < history.history["plan_tau"][-1] <= 0.5
    assert history.history["plan_net"][-1] == pytest.approx(
        history.history["plan_speed_up"][-1] / (1 + history.history["plan_tau"][-1])
    )
    assert adaptive.decision is not None
    assert adaptive.decision.step == 12 + 8


def test_a_bound_of_zero_stays_exact() -> None:
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert adaptive.decision.methods == {}


def test_each_of_many_shares_is_drawn_before_a_decision() -> None:
    # By another scale than 1, the variance has no formula.
    methods = [tfag.RowSampledGradient(n / 20, scale=0.5) for n in range(1, 11)]
    adaptive = tfag.AdaptivePlan(methods=methods)
    make_model().fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert adaptive.decision.step == len(methods)


def test_nothing_is_traced_again() -> None:
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5, every=16)
    traces = []
    first = model.layers[0]
    call = first.gradient_policy.note_call

    def counted(training: bool | None) -> None:
        traces.append(training)
        call(training)

    first.gradient_policy.note_call = counted
    after_batches, decisions = [], set()

    def watch(batch: int, logs: object) -> None:
        after_batches.append(len(traces))
        decisions.add(adaptive.decision and adaptive.decision.step)

    watching = keras.callbacks.LambdaCallback(on_train_batch_end=watch)
    model.fit(*data(512), BATCH, callbacks=[adaptive, watching], verbose=0)
    assert len(set(after_batches)) == 1
    assert decisions >= {None, 8, 24, 40, 56}


@pytest.mark.parametrize(
    "options",
    [{"steps_per_execution": 4}, {"jit_compile": True}, {"run_eagerly": True}],
)
def test_fit_in_every_mode(options: dict[str, object]) -> None:
    model = make_model(**options)
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert adaptive.decision.methods


def test_gradients_accumulate() -> None:
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
    model = make_model(optimizer)
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert adaptive.decision.methods


def test_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make_model()
    finally:
        keras.config.set_dtype_policy("float32")
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    # The loss scale falls until gradients don't overflow.
    model.fit(*data(512), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert 0 < adaptive.decision.tau <= 0.5


def test_training_without_the_callback_is_exact() -> None:
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert labels(model) == ["exact", "exact"]


def test_later_fit_goes_on_with_the_decision() -> None:
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5, every=1000)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    before = adaptive.decision
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(labels(model))
    )
    model.fit(*data(), BATCH, callbacks=[adaptive, watch], verbose=0)
    assert adaptive.decision == before
    assert before is not None
    for index, method in before.methods.items():
        assert seen[0][index - 1] == method.label


def test_a_resumed_run_has_the_decisions_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    model = make_model()
    first = tfag.AdaptivePlan(max_extra_variance=0.5, path=path)
    model.fit(*data(), BATCH, callbacks=[first], verbose=0)
    model.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    second = tfag.AdaptivePlan(max_extra_variance=0.5, path=path, every=1000)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(labels(resumed))
    )
    resumed.fit(*data(), BATCH, callbacks=[second, watch], verbose=0)
    assert first.decision is not None
    for index, method in first.decision.methods.items():
        assert seen[0][index - 1] == method.label


def test_decisions_of_later_steps_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5, path=path)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    anew = tfag.AdaptivePlan(max_extra_variance=0.5, path=path, every=16)
    anew.attach(make_model())
    assert anew.decision is None


@pytest.mark.parametrize("text", ["[{", "{}", '[{"step": 1}]', "[1]"])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "decisions.json"
    path.write_text(text)
    model = make_model()
    with pytest.raises(ValueError, match=r"path=.*decisions.json"):
        model.fit(*data(), callbacks=[tfag.AdaptivePlan(path=path)], verbose=0)


def test_a_file_of_other_methods_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5, path=path)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    records = json.loads(path.read_text())
    assert records[0]["step"] == 8
    other = tfag.AdaptivePlan(path=path, methods=tfag.RowSampledGradient(0.3))
    with pytest.raises(ValueError, match="isn't one of methods"):
        model.fit(*data(), BATCH, callbacks=[other], verbose=0)


def test_custom_loop() -> None:
    model = make_model()
    optimizer = keras.optimizers.Adam()
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5, every=16)
    adaptive.attach(model, optimizer)

    @tf.function
    def train_step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = loss_function(y, model(x, training=True))
        weights = [weight.value for weight in model.trainable_weights]
        gradients = tape.gradient(loss, weights)
        optimizer.apply(gradients, model.trainable_weights)

    x, y = data(BATCH)
    decisions = []
    for _ in range(40):
        train_step(x, y)
        decisions.append(adaptive.update())
    assert decisions[6] is None
    assert decisions[7] is not None
    assert decisions[7].step == 8
    assert decisions[-1] is not decisions[7]


class Stop(keras.callbacks.Callback):
    """Raises at a batch."""

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if batch == 3:
            raise KeyboardInterrupt


def test_an_interrupted_fit_can_go_on() -> None:
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(), BATCH, callbacks=[adaptive, Stop()], verbose=0)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert adaptive.decision.methods


def test_another_callback_leaves_the_plan() -> None:
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    callback = tfag.ApproximationCallback(tfag.Constant("zero"))
    before = model.layers[0].kernel.numpy()
    model.fit(*data(), BATCH, callbacks=[callback], verbose=0)
    np.testing.assert_allclose(model.layers[0].kernel.numpy(), before, atol=1e-2)
    assert labels(model) == ["zero", "zero"]


def test_a_schedule_that_approximates_is_refused() -> None:
    model = make_model()
    tfag.approximate_gradients(model, tfag.EveryNthLayer("max", n=2))
    with pytest.raises(
        ValueError, match=r"'second'.*EveryNthLayer.*without a schedule"
    ):
        model.fit(*data(), callbacks=[tfag.AdaptivePlan()], verbose=0)


def test_approximate_input_gradients_are_refused() -> None:
    model = make_model()
    tfag.approximate_gradients(model, tfag.Constant("exact"), input_gradient="sampled")
    with pytest.raises(ValueError, match=r"input_gradient=.*must be exact"):
        model.fit(*data(), callbacks=[tfag.AdaptivePlan()], verbose=0)


def test_epochs_are_skipped_while_measuring_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adaptive_plan, "_LARGEST_SHARE", 0.0)
    # Measured steps take longer by a sleep.
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)

    def sleep(batch: int, logs: object) -> None:
        if adaptive._is_measuring:
            time.sleep(0.02)

    slow = keras.callbacks.LambdaCallback(on_train_batch_begin=sleep)
    model.fit(*data(), BATCH, epochs=3, callbacks=[adaptive, slow], verbose=0)
    # The first measurement knows no other steps, and is followed by a second.
    assert len(adaptive._decisions) == 2


def test_epochs_before_a_decision_are_logged_as_exact() -> None:
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    history = model.fit(
        *data(32), BATCH, epochs=3, callbacks=[adaptive], verbose=0
    ).history
    assert history["plan_speed_up"][0] == 1
    assert history["plan_tau"][0] == 0
    assert len(history["plan_net"]) == 3


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="every='step'"):
        tfag.AdaptivePlan(every="step")
    with pytest.raises(ValueError, match="every must be"):
        tfag.AdaptivePlan(every=8)
    with pytest.raises(ValueError, match="max_extra_variance must be"):
        tfag.AdaptivePlan(max_extra_variance=-0.1)
    with pytest.raises(ValueError, match="methods='full'"):
        tfag.AdaptivePlan(methods="full")
    with pytest.raises(RuntimeError, match="attach"):
        tfag.AdaptivePlan().update()


def test_a_model_that_is_not_converted_is_refused() -> None:
    model = tfag.strip_approximation(make_model())
    with pytest.raises(ValueError, match="no converted layer"):
        model.fit(*data(), callbacks=[tfag.AdaptivePlan()], verbose=0)


def test_attach_needs_an_optimizer() -> None:
    model = tfag.approximate_gradients(tfag.models.cnn2(input_shape=(8, 8, 1)))
    with pytest.raises(ValueError, match="isn't compiled"):
        tfag.AdaptivePlan(every=16).attach(model)


def test_a_custom_loop_has_no_epochs() -> None:
    with pytest.raises(ValueError, match="every='epoch'"):
        tfag.AdaptivePlan().attach(make_model())


def test_a_model_that_is_converted_anew_adapts_anew() -> None:
    model = make_model()
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    tfag.approximate_gradients(model, layers="second")
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert set(adaptive.decision.methods) <= {2}
