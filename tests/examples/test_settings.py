"""What the flags mean: methods, schedules and models."""

import dataclasses

import keras
import numpy as np
import pytest
import settings
import train
from absl import flags

import tf_approxgrad as tfag


def chosen(**changes) -> settings.Settings:
    defaults = {
        field.name: flags.FLAGS[field.name].default
        for field in dataclasses.fields(settings.Settings)
    }
    assert "train" in flags.FLAGS.flags_by_module_dict(), train
    return settings.Settings(**defaults | {"compare": ()} | changes)


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("full", tfag.FullGradient()),
        ("zero", tfag.ZeroGradient()),
        ("random", tfag.RandomGradient(seed=7)),
        ("random:stddev=0.01", tfag.RandomGradient(stddev=0.01, seed=7)),
        ("max", tfag.MaxGradient()),
        ("max:k=4", tfag.MaxGradient(k=4)),
        ("max:k=4:scale=0.5", tfag.MaxGradient(k=4, scale=0.5)),
        ("max:scale=batch", tfag.MaxGradient()),
        ("row-sampled", tfag.RowSampledGradient(seed=7)),
        (
            "row-sampled:share=0.25:probability=product:keep_largest=True",
            tfag.RowSampledGradient(
                0.25, seed=7, probability="product", keep_largest=True
            ),
        ),
    ],
)
def test_method_and_its_parameters_are_read(text, method):
    arguments = {"schedule": "none"} if text == "full" else {}
    found = settings.make_methods(chosen(method=text, seed=7, **arguments))
    assert found == {text: method}


def test_flags_give_parameters_that_a_method_leaves_out():
    found = settings.make_methods(
        chosen(compare=("full", "max", "max:k=2", "random"), k=8, scale="2", stddev=0.5)
    )
    assert found == {
        "full": tfag.FullGradient(),
        "max": tfag.MaxGradient(k=8, scale=2.0),
        "max:k=2": tfag.MaxGradient(k=2, scale=2.0),
        "random": tfag.RandomGradient(stddev=0.5),
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"method": "maximum"},
            ("'maximum'", "full, zero, random, max, sampled, row-sampled"),
        ),
        ({"method": "max:n=4"}, ("'n=4'", "k, scale")),
        ({"method": "max:k"}, ("'k'", "max:k=4")),
        ({"method": "zero:k=4"}, ("'k=4'", "it has none")),
        ({"method": "max:k=0"}, ("k must be", "0")),
        ({"method": "zero", "k": 4}, ("k=4", "zero")),
        ({"method": "max", "stddev": 1.0}, ("stddev=1.0", "max")),
        ({"method": "max", "compare": ("full", "max")}, ("exclude",)),
        ({"compare": ("zero", "max")}, ("compare='zero,max'", "full")),
        ({"compare": ("full",)}, ("compare='full'", "one more")),
        ({"compare": ("full", "max", "max")}, ("full,max,max", "once")),
        ({"method": "max", "schedule": "none"}, ("schedule='none'", "'max'")),
    ],
)
def test_bad_methods_are_refused(changes, words):
    with pytest.raises(ValueError) as caught:
        settings.make_methods(chosen(**changes))
    for word in words:
        assert word in str(caught.value)


MAX = tfag.MaxGradient()


@pytest.mark.parametrize(
    ("changes", "schedule"),
    [
        ({}, tfag.Alternate(MAX)),
        ({"model": "resnet20"}, tfag.EveryNthLayer(MAX)),
        ({"model": "vgg19"}, tfag.EveryNthLayer(MAX)),
        (
            {"schedule": "every_nth_layer", "schedule_n": 3, "schedule_start": 1},
            tfag.EveryNthLayer(MAX, n=3, start=1),
        ),
        (
            {"schedule": "every_nth_step", "schedule_n": 2, "schedule_start": 0},
            tfag.EveryNthStep(MAX, n=2, start=0),
        ),
        (
            {"schedule_layers": "3", "schedule_steps": 5},
            tfag.Alternate(MAX, layers=3, steps=5),
        ),
        ({"schedule": "constant"}, tfag.Constant(MAX)),
        (
            {"schedule": "constant", "schedule_layers": "2, conv1"},
            tfag.Constant(MAX, layers=[2, "conv1"]),
        ),
        ({"schedule": "none"}, None),
    ],
    ids=str,
)
def test_schedule_and_its_parameters_are_read(changes, schedule):
    assert settings.make_schedule(chosen(**changes), MAX) == schedule


def test_full_gradient_needs_no_schedule():
    assert settings.make_schedule(chosen(), tfag.FullGradient()) is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"schedule_n": 3}, "schedule_n=3"),
        ({"schedule": "constant", "schedule_steps": 2}, "schedule_steps=2"),
        ({"schedule": "every_nth_step", "schedule_layers": "2"}, "schedule_layers='2'"),
        ({"schedule": "none", "schedule_start": 1}, "schedule_start=1"),
        ({"schedule": "every_nth_step", "schedule_n": 0}, "n must be"),
    ],
)
def test_parameter_that_does_not_go_with_the_schedule_is_refused(changes, word):
    with pytest.raises(ValueError) as caught:
        settings.make_schedule(chosen(**changes), MAX)
    assert word in str(caught.value)


@pytest.mark.parametrize("model", settings.MODELS)
def test_models_of_all_methods_start_from_the_same_weights(model):
    width = 0.05
    plain, converted = (
        settings.make_model(
            chosen(model=model, width=width, seed=3), schedule, (32, 32, 1), 10, 5
        )
        for schedule in (None, tfag.EveryNthLayer(MAX, n=1, start=2))
    )
    assert tfag.conversion_report(plain).converted == []
    assert tfag.conversion_report(converted).converted
    for a, b in zip(plain.get_weights(), converted.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    names = [layer.name for layer in settings.convolutions(plain)]
    assert names == tfag.conversion_report(converted).converted


def test_input_gradient_is_made_where_the_schedule_approximates():
    options = chosen(
        method="max",
        schedule="constant",
        schedule_layers="2",
        input_gradient="row-sampled:share=0.25",
        seed=7,
    )
    ((_, method),) = settings.make_methods(options).items()
    schedule = settings.make_schedule(options, method)
    model = settings.make_model(options, schedule, (8, 8, 1), 10, 1)
    wanted = tfag.RowSampledGradient(0.25, seed=7)
    assert {x.input_gradient for x in settings.convolutions(model)} == {wanted}
    assert settings.make_input_method(chosen(method="max")) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"input_gradient": "rows"},
            ("input_gradient='rows'", "full, zero, random, max, sampled, row-sampled"),
        ),
        ({"input_gradient": "max:n=4"}, ("input_gradient='max:n=4'", "'n=4'")),
        (
            {"input_gradient": "sampled", "schedule": "none"},
            ("input_gradient='sampled'", "schedule='none'"),
        ),
        (
            {"input_gradient": "sampled", "method": "full"},
            ("input_gradient='sampled'", "method='full'"),
        ),
    ],
)
def test_bad_input_gradients_are_refused(changes, words):
    with pytest.raises(ValueError) as caught:
        settings.make_input_method(chosen(**changes))
    for word in words:
        assert word in str(caught.value)


def test_learning_rate_decays_over_the_epochs_asked_for():
    changes = {"learning_rate": 0.5, "decay_rate": 0.25, "decay_epochs": 2.0}
    model = settings.make_model(
        chosen(width=0.05, **changes), None, (8, 8, 1), 10, steps_per_epoch=7
    )
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    rates = []
    for step in (0, 7, 14):
        model.optimizer.iterations.assign(step)
        rates.append(float(model.optimizer.learning_rate))
    assert rates == pytest.approx([0.5, 0.25, 0.125])


def test_fingerprint_leaves_out_what_may_change_in_a_resumed_run():
    first = chosen(epochs=3, output="a", checkpoint="c", compare=("full", "max"))
    second = chosen(epochs=9, output="b", checkpoint="d", compare=("full", "max"))
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != chosen(seed=1).fingerprint()
    assert first.fingerprint()["compare"] == ["full", "max"]
