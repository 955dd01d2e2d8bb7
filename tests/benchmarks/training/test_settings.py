"""What settings mean, and the models that are made of them."""

import keras
import numpy as np
import pytest

import tf_approxgrad as tfag
from benchmarks.training.recipe import Recipe, make_model
from benchmarks.training.settings import Setting, parse, split_list


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("zero", tfag.ZeroGradient()),
        ("random:stddev=0.01", tfag.RandomGradient(stddev=0.01, seed=7)),
        ("max:k=4:scale=0.5", tfag.MaxGradient(k=4, scale=0.5)),
        ("max:scale=batch", tfag.MaxGradient()),
        ("sampled:k=4:seed=3", tfag.SampledGradient(k=4, seed=3)),
        (
            "row-sampled:share=0.25:probability=product:keep_largest=True",
            tfag.RowSampledGradient(
                0.25, seed=7, probability="product", keep_largest=True
            ),
        ),
    ],
)
def test_method_and_its_parameters_are_read(text, method):
    found = parse(f"{text}@constant", "resnet20", 7)
    assert found == Setting("resnet20", tfag.Constant(method))


@pytest.mark.parametrize(
    ("text", "network", "schedule"),
    [
        ("full", "resnet20", None),
        ("resnet14", "resnet14", None),
        ("max", "resnet20", tfag.EveryNthLayer("max")),
        ("zero@schedule2", "resnet20", tfag.Alternate("zero")),
        ("zero@schedule3", "resnet20", tfag.EveryNthStep("zero")),
        (
            "max@every_nth_step:n=2:start=1",
            "resnet20",
            tfag.EveryNthStep("max", n=2, start=1),
        ),
        (
            "max:scale=1e+2@constant:layers=2-4,7+zero@schedule1",
            "resnet20",
            tfag.Combined(
                [
                    tfag.Constant(tfag.MaxGradient(scale=100.0), layers=[2, 3, 4, 7]),
                    tfag.EveryNthLayer("zero"),
                ]
            ),
        ),
    ],
)
def test_setting_says_network_method_and_schedule(text, network, schedule):
    assert parse(text, "resnet20", 0) == Setting(network, schedule)


def test_a_method_alone_follows_the_paper_s_schedule_for_the_network():
    assert parse("max", "cnn2", 0).schedule == tfag.Alternate("max")
    assert parse("max", "vgg19", 0).schedule == tfag.EveryNthLayer("max")


def test_third_part_of_a_setting_is_the_method_of_the_input_gradients():
    found = parse("max@schedule1@sampled:k=4", "resnet20", 7)
    assert found.schedule == parse("max@schedule1", "resnet20", 7).schedule
    assert found.input_gradient == tfag.SampledGradient(k=4, seed=7)


def test_all_but_first_approximates_every_layer_from_the_second_at_every_step():
    schedule = parse("zero@all-but-first", "resnet20", 0).schedule
    for step in range(3):
        labels = [schedule(layer, step).label for layer in range(1, 8)]
        assert labels == ["full"] + ["zero"] * 6


def test_commas_separate_settings_but_not_layers():
    text = "full,zero@constant:layers=2,3,max"
    assert split_list(text) == ["full", "zero@constant:layers=2,3", "max"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet15", ("'resnet15'", "zero, random, max")),
        ("max@schedule1:n=3", ("schedule 'schedule1:n=3'",)),
        ("max@schedule4", ("'max@schedule4'", "schedule1, schedule2")),
        ("full@schedule1", ("must be full",)),
        ("max@schedule1@zero@zero", ("must be full",)),
        ("max:n=4@schedule1", ("'n=4'", "k, scale")),
        ("zero:k=4", ("'k=4'", "there are none")),
        ("max:k=0@schedule1", ("k must be", "0")),
        ("max@every_nth_layer:m=3", ("'m=3'", "n, start")),
        ("max@every_nth_layer:n=three", ("'three'",)),
        ("max@every_nth_step:n=0", ("n must be",)),
        ("max@schedule1@", ("method ''",)),
        ("max@schedule1@rows:k=4", ("method 'rows'", "row-sampled")),
        ("max@schedule1+full", ("max@schedule1+full", "must be METHOD@SCHEDULE")),
        ("max@schedule1@sampled+zero@schedule2", ("must be METHOD@SCHEDULE",)),
        ("max@constant:layers=4-2", ("range '4-2'",)),
    ],
)
def test_bad_setting_is_refused(text, words):
    with pytest.raises(ValueError) as caught:
        parse(text, "resnet20", 0)
    for word in words:
        assert word in str(caught.value)


def model_of(text, model="cnn2", **changes):
    recipe = Recipe(model=model, width=0.05, **changes)
    setting = parse(text, model, 3)
    return make_model(recipe, setting, 3, (32, 32, 1), steps_per_epoch=7)


@pytest.mark.parametrize("network", ["cnn2", "resnet14"])
def test_models_of_all_settings_start_from_the_same_weights(network):
    plain, converted = (model_of(x, network) for x in ("full", "max@all-but-first"))
    assert tfag.conversion_report(plain).converted == []
    assert tfag.conversion_report(converted).converted
    for a, b in zip(plain.get_weights(), converted.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_input_gradient_is_made_where_the_schedule_approximates():
    model = model_of("max@constant:layers=2@row-sampled:share=0.25")
    names = tfag.conversion_report(model).converted
    found = {model.get_layer(name).input_gradient for name in names}
    assert found == {tfag.RowSampledGradient(0.25, seed=3)}


def test_learning_rate_decays_over_the_epochs_asked_for():
    model = model_of("full", learning_rate=0.5, decay_rate=0.25, decay_epochs=2.0)
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    rates = []
    for step in (0, 7, 14):
        model.optimizer.iterations.assign(step)
        rates.append(float(model.optimizer.learning_rate))
    assert rates == pytest.approx([0.5, 0.25, 0.125])
