"""The gradient methods as values: arguments, comparison, labels, serialisation."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tf_approxgrad as tfag
from tf_approxgrad import methods

FINITE = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(1, 2**63 - 1) | st.floats(0, 1, exclude_min=True, exclude_max=True)
METHODS = st.one_of(
    st.just(tfag.FullGradient()),
    st.just(tfag.ZeroGradient()),
    st.builds(
        tfag.RandomGradient,
        stddev=st.none() | FINITE.map(abs),
        seed=st.integers(-(2**63), 2**63 - 1),
    ),
    st.builds(
        tfag.MaxGradient,
        k=COUNTS,
        scale=st.just("batch") | FINITE,
    ),
    st.builds(
        tfag.SampledGradient,
        k=COUNTS,
        scale=st.just("batch") | FINITE,
        seed=st.integers(-(2**63), 2**63 - 1),
    ),
    st.builds(
        tfag.RowSampledGradient,
        share=st.floats(0, 1, exclude_min=True),
        scale=st.just("batch") | FINITE,
        seed=st.integers(-(2**63), 2**63 - 1),
        probability=st.sampled_from(["norm", "product"]),
        keep_largest=st.booleans(),
    ),
)


@pytest.mark.parametrize(
    ("method", "label"),
    [
        (tfag.FullGradient(), "full"),
        (tfag.ZeroGradient(), "zero"),
        (tfag.RandomGradient(), "random"),
        (tfag.RandomGradient(stddev=0.5), "random(stddev=0.5)"),
        (tfag.RandomGradient(seed=7), "random(seed=7)"),
        (tfag.RandomGradient(stddev=2, seed=-1), "random(stddev=2.0, seed=-1)"),
        (tfag.MaxGradient(), "max"),
        (tfag.MaxGradient(k=4), "max(k=4)"),
        (tfag.MaxGradient(scale=1), "max(scale=1.0)"),
        (tfag.MaxGradient(k=2, scale=0.25), "max(k=2, scale=0.25)"),
        (tfag.MaxGradient(k=0.01), "max(k=0.01)"),
        (tfag.SampledGradient(), "sampled"),
        (tfag.SampledGradient(k=4, seed=7), "sampled(k=4, seed=7)"),
        (tfag.SampledGradient(k=0.5, scale="batch"), "sampled(k=0.5, scale='batch')"),
        (tfag.RowSampledGradient(), "row-sampled"),
        (tfag.RowSampledGradient(1, 2), "row-sampled(share=1.0, scale=2.0)"),
        (
            tfag.RowSampledGradient(probability="product", keep_largest=True),
            "row-sampled(probability='product', keep_largest=True)",
        ),
    ],
)
def test_label_shows_the_arguments_that_are_not_default(method, label):
    assert method.label == label


def test_only_what_is_drawn_needs_the_step():
    assert tfag.RandomGradient().needs_step
    assert tfag.SampledGradient().needs_step
    assert tfag.RowSampledGradient().needs_step
    assert not tfag.FullGradient().needs_step
    assert not tfag.ZeroGradient().needs_step
    assert not tfag.MaxGradient(k=3).needs_step


def test_defaults_are_those_of_the_paper():
    assert (tfag.MaxGradient().k, tfag.MaxGradient().scale) == (1, "batch")
    assert (tfag.RandomGradient().stddev, tfag.RandomGradient().seed) == (None, 0)


def test_sampled_is_unbiased_by_default():
    method = tfag.SampledGradient()
    assert (method.k, method.scale, method.seed) == (1, 1.0, 0)


def test_row_sampled_is_unbiased_by_default():
    method = tfag.RowSampledGradient()
    assert (method.share, method.scale, method.seed) == (0.125, 1.0, 0)
    assert (method.probability, method.keep_largest) == ("norm", False)


def test_methods_are_immutable():
    method = tfag.MaxGradient()
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.k = 2


def test_base_class_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        tfag.GradientMethod()


def test_methods_differ_by_class_and_by_argument():
    different = [
        tfag.FullGradient(),
        tfag.ZeroGradient(),
        tfag.RandomGradient(),
        tfag.RandomGradient(seed=1),
        tfag.RandomGradient(stddev=1.0),
        tfag.MaxGradient(),
        tfag.MaxGradient(k=2),
        tfag.MaxGradient(scale=1.0),
        tfag.SampledGradient(),
        tfag.SampledGradient(k=2),
        tfag.SampledGradient(k=0.5),
        tfag.SampledGradient(scale="batch"),
        tfag.SampledGradient(seed=1),
        tfag.RowSampledGradient(),
        tfag.RowSampledGradient(share=0.25),
        tfag.RowSampledGradient(scale="batch"),
        tfag.RowSampledGradient(seed=1),
        tfag.RowSampledGradient(probability="product"),
        tfag.RowSampledGradient(keep_largest=True),
    ]
    for i, method in enumerate(different):
        assert [other == method for other in different].index(True) == i
    assert len(set(different)) == len(different)


def test_numpy_numbers_become_python_numbers():
    top = tfag.MaxGradient(k=np.int64(3), scale=np.float32(0.5))
    assert top == tfag.MaxGradient(k=3, scale=0.5)
    assert (type(top.k), type(top.scale)) == (int, float)
    random = tfag.RandomGradient(stddev=np.float64(0.5), seed=np.int8(-3))
    assert random == tfag.RandomGradient(stddev=0.5, seed=-3)
    assert (type(random.stddev), type(random.seed)) == (float, int)
    for number, kind in ((np.int8(3), int), (np.float64(0.25), float)):
        method = tfag.SampledGradient(k=number)
        assert (method.k, type(method.k)) == (number, kind)


@given(METHODS)
def test_every_method_survives_its_config_and_json(method):
    config = json.loads(json.dumps(method.get_config()))
    again = type(method).from_config(config)
    assert again == method
    assert hash(again) == hash(method)
    assert again.label == method.label


@given(METHODS)
def test_every_method_survives_keras_serialisation_and_json(method):
    text = json.dumps(keras.saving.serialize_keras_object(method))
    assert keras.saving.deserialize_keras_object(json.loads(text)) == method
    assert methods.get(json.loads(text)) == method


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: tfag.MaxGradient(k=0), ValueError, "k must be .*float.*got 0$"),
        (lambda: tfag.MaxGradient(k=0.0), ValueError, "k must be .*float.*got 0.0"),
        (lambda: tfag.MaxGradient(k=-0.5), ValueError, "k must be .*float.*got -0.5"),
        (lambda: tfag.MaxGradient(k=2.5), ValueError, "k must be .*float.*got 2.5"),
        (lambda: tfag.MaxGradient(k=np.nan), ValueError, "k must be .*float.*got nan"),
        (lambda: tfag.SampledGradient(k=0), ValueError, "k must be .*got 0"),
        (lambda: tfag.SampledGradient(k=1.0), ValueError, "k must be .*got 1.0"),
        (lambda: tfag.SampledGradient(k=[1]), TypeError, r"k must be .*got \[1\]"),
        (
            lambda: tfag.SampledGradient(scale="mean"),
            ValueError,
            "scale must be \"batch\".* or a finite number, got 'mean'",
        ),
        (lambda: tfag.SampledGradient(seed=2**63), ValueError, "seed must .*got 9"),
        (lambda: tfag.SampledGradient(seed=0.5), TypeError, "seed must .*got 0.5"),
        (lambda: tfag.MaxGradient(k=-2), ValueError, "k must be .*got -2"),
        (lambda: tfag.MaxGradient(k=2**63), ValueError, f"k must be .*got {2**63}"),
        (lambda: tfag.MaxGradient(k=1.0), ValueError, "k must be .*float.*got 1.0"),
        (lambda: tfag.MaxGradient(k=True), TypeError, r"k must be .*got True \(bool"),
        (lambda: tfag.MaxGradient(k="4"), TypeError, r"k must be .*got '4' \(str"),
        (lambda: tfag.MaxGradient(k=None), TypeError, "k must be .*got None"),
        (
            lambda: tfag.MaxGradient(scale="mean"),
            ValueError,
            "scale must be \"batch\".* or a finite number, got 'mean'",
        ),
        (lambda: tfag.MaxGradient(scale=np.nan), ValueError, "scale must .*got nan"),
        (lambda: tfag.MaxGradient(scale=-np.inf), ValueError, "scale must .*got -inf"),
        (lambda: tfag.MaxGradient(scale=True), TypeError, "scale must .*got True"),
        (lambda: tfag.MaxGradient(scale=None), TypeError, "scale must .*got None"),
        (lambda: tfag.MaxGradient(scale=[1.0]), TypeError, "scale must .*got .1.0"),
        (
            lambda: tfag.RandomGradient(stddev=-0.1),
            ValueError,
            "stddev must be None .* or a finite number >= 0, got -0.1",
        ),
        (lambda: tfag.RandomGradient(stddev=np.nan), ValueError, "stddev .*got nan"),
        (lambda: tfag.RandomGradient(stddev=np.inf), ValueError, "stddev .*got inf"),
        (lambda: tfag.RandomGradient(stddev=10**400), ValueError, "stddev .*got 1000"),
        (lambda: tfag.RandomGradient(stddev="1/N"), TypeError, "stddev .*got '1/N'"),
        (lambda: tfag.RandomGradient(stddev=False), TypeError, "stddev .*got False"),
        (
            lambda: tfag.RandomGradient(seed=2**63),
            ValueError,
            f"seed must be an integer from {-(2**63)} to {2**63 - 1}, got {2**63}",
        ),
        (lambda: tfag.RandomGradient(seed=-(2**63) - 1), ValueError, "seed .*got -"),
        (lambda: tfag.RandomGradient(seed=0.0), TypeError, "seed .*got 0.0"),
        (lambda: tfag.RandomGradient(seed=True), TypeError, "seed .*got True"),
        (lambda: tfag.RandomGradient(seed=None), TypeError, "seed .*got None"),
        (
            lambda: tfag.RowSampledGradient(share=0),
            ValueError,
            "share must be a number greater than 0 and at most 1, got 0",
        ),
        (lambda: tfag.RowSampledGradient(share=1.01), ValueError, "share .*got 1.01"),
        (lambda: tfag.RowSampledGradient(share=-0.5), ValueError, "share .*got -0.5"),
        (lambda: tfag.RowSampledGradient(share=np.nan), ValueError, "share .*got nan"),
        (lambda: tfag.RowSampledGradient(share=True), TypeError, "share .*got True"),
        (lambda: tfag.RowSampledGradient(share="1/8"), TypeError, "share .*got '1/8'"),
        (lambda: tfag.RowSampledGradient(scale="sum"), ValueError, "scale .*got 'sum'"),
        (lambda: tfag.RowSampledGradient(scale=np.inf), ValueError, "scale .*got inf"),
        (lambda: tfag.RowSampledGradient(seed=2**63), ValueError, "seed must .*got 9"),
        (lambda: tfag.RowSampledGradient(seed=1.5), TypeError, "seed must .*got 1.5"),
        (
            lambda: tfag.RowSampledGradient(probability="size"),
            ValueError,
            'probability must be "norm" or "product", got \'size\'',
        ),
        (
            lambda: tfag.RowSampledGradient(probability=None),
            TypeError,
            "probability must .*got None",
        ),
        (
            lambda: tfag.RowSampledGradient(keep_largest=1),
            TypeError,
            "keep_largest must be True or False, got 1",
        ),
    ],
)
def test_bad_arguments_are_refused_in_words(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    "method",
    [
        tfag.RandomGradient(stddev=0),
        tfag.MaxGradient(scale=-1),
        tfag.MaxGradient(10),
        tfag.RowSampledGradient(1),
        tfag.RowSampledGradient(1e-300),
    ],
)
def test_limits_of_the_allowed_range_are_accepted(method):
    assert methods.get(method) is method


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("full", tfag.FullGradient()),
        ("zero", tfag.ZeroGradient()),
        ("random", tfag.RandomGradient()),
        ("max", tfag.MaxGradient()),
        ("sampled", tfag.SampledGradient()),
        ("row-sampled", tfag.RowSampledGradient()),
    ],
)
def test_get_knows_every_method_by_name(name, method):
    assert methods.get(name) == method


@pytest.mark.parametrize(
    ("identifier", "error", "message"),
    [
        (
            "Max",
            ValueError,
            "'full', .*'sampled', 'row-sampled'.*got 'Max'",
        ),
        (
            "",
            ValueError,
            "'full', .*'sampled', 'row-sampled'.*got ''",
        ),
        (
            None,
            TypeError,
            "'full', .*'sampled', 'row-sampled'.*got None",
        ),
        (
            4,
            TypeError,
            "'full', .*'sampled', 'row-sampled'.*got 4",
        ),
        (tfag.MaxGradient, TypeError, "'full', .*got <class.*MaxGradient"),
        ({"k": 4}, ValueError, "'full', .*got {'k': 4}"),
        ({"class_name": "Nothing", "config": {}}, ValueError, "'full', .*can't read"),
    ],
)
def test_get_refuses_what_is_no_method(identifier, error, message):
    with pytest.raises(error, match=message):
        methods.get(identifier)


def test_get_refuses_another_kind_of_object():
    config = keras.saving.serialize_keras_object(keras.losses.MeanSquaredError())
    with pytest.raises(ValueError, match=r"method must be .*MeanSquaredError"):
        methods.get(config)


def test_get_says_which_argument_of_a_serialised_method_is_wrong():
    config = keras.saving.serialize_keras_object(tfag.MaxGradient())
    config["config"]["k"] = 0
    with pytest.raises(ValueError, match="k must be an integer >= 1"):
        methods.get(config)
