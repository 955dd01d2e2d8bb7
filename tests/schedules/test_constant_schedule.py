"""Constant: layers by index, by name and by predicate."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import tf_approxgrad as tfag

FULL = tfag.FullGradient()
MAX = tfag.MaxGradient()


@dataclasses.dataclass
class Layer:
    """Stands for a convolution."""

    name: str
    filters: int = 16


LAYERS = [Layer("stem"), Layer("block1_conv", 32), Layer("block2_conv", 64)]


@keras.saving.register_keras_serializable(package="tf_approxgrad_tests")
def is_wide(layer):
    return layer.filters >= 32


@keras.saving.register_keras_serializable(package="tf_approxgrad_tests")
@dataclasses.dataclass(frozen=True)
class WiderThan:
    """A predicate with a parameter."""

    filters: int

    def __call__(self, layer):
        return layer.filters > self.filters

    def get_config(self):
        return {"filters": self.filters}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable(package="tf_approxgrad_tests")
class SavedButNeverLoaded:
    """Keras saves such an object and fails to load it: from_config is missing."""

    def __call__(self, layer):
        return True

    def get_config(self):
        return {}


def is_narrow(layer):
    return layer.filters < 32


def approximated(schedule, layers=LAYERS):
    resolved = schedule.resolve(layers)
    return [i for i in range(1, len(layers) + 1) if resolved(i, step=5) != FULL]


@pytest.mark.parametrize(
    ("layers", "indices"),
    [
        (None, [1, 2, 3]),
        (2, [2]),
        (np.int64(3), [3]),
        ("stem", [1]),
        (is_wide, [2, 3]),
        ([1, 3], [1, 3]),
        (range(2, 4), [2, 3]),
        (np.array([3, 1]), [1, 3]),
        ({"block2_conv", "stem"}, [1, 3]),
        ((layer for layer in ["block1_conv"]), [2]),
        ([WiderThan(32), lambda layer: layer.name == "stem"], [1, 3]),
        (["block2_conv", 1, is_narrow, 3], [1, 3]),
    ],
)
def test_layers_are_found_by_index_name_and_predicate(layers, indices):
    assert approximated(tfag.Constant("max", layers=layers)) == indices


def test_every_step_has_the_same_method():
    schedule = tfag.Constant(tfag.MaxGradient(k=2), layers=2)
    assert (schedule.prefix, schedule.period) == (0, 1)
    assert schedule.row(1) == (FULL,)
    assert schedule.row(2) == (tfag.MaxGradient(k=2),)


def test_resolve_returns_indices_in_order():
    schedule = tfag.Constant("max", layers=["block2_conv", is_narrow, 3])
    assert schedule.resolve(LAYERS) == tfag.Constant("max", layers=[1, 3])
    assert schedule.resolve(LAYERS).layers == (1, 3)


def test_order_and_repetition_of_the_layers_have_no_meaning():
    one = tfag.Constant("max", layers=[3, "b", 1, is_wide, "a", 3, is_wide])
    other = tfag.Constant("max", layers=["a", 1, "b", is_wide, 3])
    assert one == other
    assert hash(one) == hash(other)
    assert tfag.Constant("max", layers=2) == tfag.Constant("max", layers=[2])
    assert tfag.Constant("max", layers=2) != tfag.Constant("max", layers=[2, 3])
    assert tfag.Constant("max", layers=2) != tfag.Constant("max")


@pytest.mark.parametrize("layers", [["stem"], "stem", is_wide, [1, "stem"]])
def test_an_unresolved_schedule_explains_why_it_cannot_be_called(layers):
    schedule = tfag.Constant("max", layers=layers)
    with pytest.raises(ValueError, match=r"layers of Constant .*resolve\(layers\)"):
        schedule(1, 0)
    with pytest.raises(ValueError, match=r"resolve\(layers\)"):
        schedule.row(1)
    with pytest.raises(ValueError, match=r"resolve\(layers\)"):
        schedule.preview(3, steps=2)


def test_preview_and_fraction_of_layers_resolve_the_schedule():
    schedule = tfag.Constant("zero", layers=is_wide)
    assert schedule.fraction(LAYERS) == pytest.approx(2 / 3)
    assert schedule.preview(LAYERS, steps=2).splitlines() == [
        "layer/step     0     1",
        "         1  full  full",
        "         2  zero  zero",
        "         3  zero  zero",
    ]


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (0, ValueError, "layers must be an integer >= 1, got 0"),
        ([1, -1], ValueError, "layers must be an integer >= 1, got -1"),
        (True, TypeError, "layers must be an integer >= 1, got True"),
        ([], ValueError, r"layers must be None.*at least one layer, got \[\]"),
        (2.0, TypeError, "layers must be a list of indices.*got 2.0"),
        ([2.0], TypeError, "layers must hold indices.*got 2.0"),
        ([None], TypeError, "layers must hold indices.*got None"),
        ({"stem": 1}, TypeError, "layers must be a list of indices.*got {'stem'"),
        ([[1]], TypeError, r"layers must hold indices.*got \[1\]"),
    ],
)
def test_bad_layers_are_refused_in_words(layers, error, message):
    with pytest.raises(error, match=message):
        tfag.Constant("max", layers=layers)


def test_a_layer_itself_is_refused_though_it_can_be_called():
    layer = keras.layers.Conv2D(4, 3)
    for layers in (layer, [layer]):
        with pytest.raises(TypeError, match=r"layers must hold .*names.*Conv2D"):
            tfag.Constant("max", layers=layers)


def test_bad_method_is_refused():
    with pytest.raises(ValueError, match=r"method must be .*got 'maximum'"):
        tfag.Constant("maximum")


def test_resolve_refuses_an_index_that_the_model_does_not_have():
    with pytest.raises(ValueError, match=r"layers of Constant .*from 1 to 3.*got 4"):
        tfag.Constant("max", layers=[1, 4]).resolve(LAYERS)


def test_resolve_refuses_an_unknown_name_and_suggests_a_close_one():
    with pytest.raises(ValueError) as error:
        tfag.Constant("max", layers=["block1_cnov"]).resolve(LAYERS)
    message = str(error.value)
    assert message.startswith("layers of Constant must be in the model")
    assert "got 'block1_cnov' (did you mean 'block1_conv'" in message
    assert message.endswith("are 1 'stem', 2 'block1_conv', 3 'block2_conv'")


def test_resolve_lists_the_names_where_none_is_close():
    with pytest.raises(ValueError) as error:
        tfag.Constant("max", layers=["dense"]).resolve(LAYERS)
    assert "did you mean" not in str(error.value)
    assert "1 'stem', 2 'block1_conv', 3 'block2_conv'" in str(error.value)


def test_resolve_refuses_a_name_that_two_layers_have():
    layers = [Layer("conv"), Layer("stem"), Layer("conv")]
    with pytest.raises(ValueError, match=r"unique .*got 'conv'.*layers \[1, 3\]"):
        tfag.Constant("max", layers="conv").resolve(layers)
    assert approximated(tfag.Constant("max", layers="stem"), layers) == [2]


def test_resolve_refuses_a_predicate_that_matches_no_layer():
    schedule = tfag.Constant("max", layers=[1, WiderThan(64)])
    with pytest.raises(ValueError, match=r"must match .*of 3: WiderThan\(filters=64\)"):
        schedule.resolve(LAYERS)


@pytest.mark.parametrize(
    "layers", [None, 2, [1, 3], "stem", ["stem", 2], is_wide, [1, WiderThan(16), "b"]]
)
def test_config_survives_json_and_keras_serialisation(layers):
    schedule = tfag.Constant(tfag.MaxGradient(k=2), layers=layers)
    config = json.loads(json.dumps(schedule.get_config()))
    assert tfag.Constant.from_config(config) == schedule
    text = json.dumps(keras.saving.serialize_keras_object(schedule))
    assert keras.saving.deserialize_keras_object(json.loads(text)) == schedule


def test_config_may_leave_out_what_is_default():
    assert tfag.Constant.from_config({"method": "max"}) == tfag.Constant("max")


@pytest.mark.parametrize(
    "predicate",
    [is_narrow, lambda layer: True, LAYERS[0].__eq__, SavedButNeverLoaded()],
)
def test_config_refuses_a_predicate_that_keras_cannot_save(predicate):
    schedule = tfag.Constant("max", layers=[1, predicate])
    with pytest.raises(
        ValueError, match=r"layers of Constant must be saved .*register_keras"
    ):
        schedule.get_config()


def test_a_resolved_schedule_has_a_config_whatever_the_predicate_was():
    schedule = tfag.Constant("max", layers=is_narrow).resolve(LAYERS)
    assert tfag.Constant.from_config(schedule.get_config()).layers == (1,)
