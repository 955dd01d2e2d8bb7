"""conversion_report: what it lists, what it costs, and how it reads."""

import io

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf
from model_zoo import SCHEDULE, Block, X, subclassed

import tf_approxgrad as tfag


class Special(keras.layers.Conv2D):
    """A subclass of Conv2D without "Conv" in its name."""


class ConvBlock(keras.layers.Layer):
    """No convolution itself, but it holds one."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.inner = keras.layers.Conv2D(4, 3, padding="same", name="inner")

    def call(self, x):
        return self.inner(x)


def sequence(*layers, shape=(8, 8, 4)):
    return keras.Sequential([keras.Input(shape), *layers], name="net")


def conv(name, filters=4, **arguments):
    return keras.layers.Conv2D(filters, 3, padding="same", name=name, **arguments)


IMAGE, LINE, VOLUME = (8, 8, 4), (8, 4), (8, 8, 8, 4)


@pytest.mark.parametrize(
    ("kind", "shape", "arguments", "reason"),
    [
        (keras.layers.Conv3D, VOLUME, {"filters": 4}, ": the op's positions have two"),
        (keras.layers.Conv1DTranspose, LINE, {"filters": 4}, ""),
        (keras.layers.Conv3DTranspose, VOLUME, {"filters": 4}, ""),
        (keras.layers.DepthwiseConv1D, LINE, {}, ""),
        (keras.layers.DepthwiseConv2D, IMAGE, {}, ": its filters take one input"),
        (keras.layers.SeparableConv1D, LINE, {"filters": 4}, ""),
        (Special, IMAGE, {"filters": 4}, ": a subclass may compute something else"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_other_kind_of_convolution_is_listed_with_its_reason(
    kind, shape, arguments, reason
):
    model = sequence(kind(kernel_size=3, name="other", **arguments), shape=shape)
    (row,) = tfag.conversion_report(model).rows
    assert (row.name, row.kind, row.index) == ("other", kind.__name__, None)
    assert not row.converted
    assert row.note.startswith(f"{kind.__name__} isn't supported{reason}")
    assert row.share == 1.0


def test_layers_that_are_no_convolutions_are_not_listed():
    model = sequence(ConvBlock(name="block"), keras.layers.BatchNormalization())
    model = tfag.approximate_gradients(model, tfag.Constant("max"))
    assert [row.name for row in tfag.conversion_report(model).rows] == ["inner"]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert tfag.conversion_report(model).rows == ()
    assert tfag.conversion_report(model).share == 0


def test_report_reads_as_a_table_of_keras():
    model = sequence(conv("a"), conv("grouped", groups=2), conv("last"))
    table = [["zero"] * 4, ["max", "full", "max", "zero"]]
    model = tfag.approximate_gradients(model, tfag.TableSchedule(table))
    report = tfag.conversion_report(model)
    title, *lines, total = str(report).splitlines()
    assert title == 'Filter gradients of model: "net"'
    cells = [
        [cell.strip() for cell in line.strip("┃│").replace("┃", "│").split("│")]
        for line in lines
        if line[0] in "┃│"
    ]
    shape = "(None, 8, 8, 4)"
    assert cells == [
        ["Layer (type)", "Index", "Output Shape", "Cost", "Method or reason"],
        ["a (ApproxConv2D)", "1", shape, "40.0%", "zero"],
        ["grouped (Conv2D)", "-", shape, "20.0%", "groups=2 isn't supported"],
        ["last (ApproxConv2D)", "2", shape, "40.0%", "max, full, zero"],
    ]
    assert total.split(": ")[1].startswith("2 of 3 convolutions, 80.0% of the cost")
    assert report.converted == ["a", "last"]
    assert report.skipped == [("grouped", "groups=2 isn't supported")]
    # The borders are those of `summary`, whose columns are wider.
    summary = io.StringIO()
    model.summary(print_fn=lambda text, **_: summary.write(text))
    borders = {c for c in summary.getvalue() if "─" <= c <= "╿"}
    assert {c for c in str(report) if "─" <= c <= "╿"} == borders


def test_layers_of_one_name_are_each_skipped():
    inputs = outputs = keras.Input((8, 8, 4))
    for groups in (2, 4):
        part = sequence(conv("same", groups=groups))
        part.name = f"part{groups}"
        outputs = part(outputs)
    report = tfag.conversion_report(keras.Model(inputs, outputs))
    assert report.skipped == [
        ("same", "groups=2 isn't supported"),
        ("same", "groups=4 isn't supported"),
    ]


def test_rich_prints_the_report_in_colours():
    report = tfag.conversion_report(sequence(conv("a[b]")))
    console = rich.console.Console(
        file=io.StringIO(), force_terminal=True, color_system="256", width=100
    )
    console.print(report)
    assert "\x1b[38;5;33mConv2D" in console.file.getvalue()
    assert "a[b]" in console.file.getvalue()


def test_stripped_model_reports_as_the_original_does():
    model = sequence(conv("a"), conv("grouped", groups=2), conv("last"))
    before = tfag.conversion_report(model)
    converted = tfag.approximate_gradients(model, SCHEDULE)
    assert tfag.conversion_report(converted) != before
    plain = tfag.strip_approximation(converted)
    assert tfag.conversion_report(plain) == before
    assert [row.note for row in before.rows if row.index] == ["not converted"] * 2


def test_layers_of_a_users_own_method_are_reported_with_it():
    layer = tfag.ApproxConv2D(4, 3, method=tfag.MaxGradient(k=2), name="a")
    (row,) = tfag.conversion_report(sequence(layer)).rows
    assert (row.index, row.converted, row.note) == (1, True, "max(k=2)")


def test_model_that_is_not_built_yet_is_reported_without_shapes():
    report = tfag.conversion_report(keras.Sequential([conv("a")]))
    (row,) = report.rows
    assert (row.name, row.index, row.shape, row.share) == ("a", 1, None, None)
    assert report.share == 0
    assert "?" in str(report)


def test_images_of_unknown_size_have_no_share():
    report = tfag.conversion_report(sequence(conv("a"), shape=(None, None, 3)))
    (row,) = report.rows
    assert (row.shape, row.share) == ((None, None, None, 4), None)


@pytest.mark.parametrize("model", [3, "a model", None, conv("a")])
def test_report_refuses_what_is_not_a_model(model):
    with pytest.raises(TypeError, match=r"(?s)model=.*keras\.Model"):
        tfag.conversion_report(model)


def test_refusal_of_a_model_without_convertible_layers_holds_its_report():
    model = sequence(conv("grouped", groups=2), keras.layers.DepthwiseConv2D(3))
    with pytest.raises(ValueError, match="no convolution") as caught:
        tfag.approximate_gradients(model, tfag.Constant("max"))
    assert str(tfag.conversion_report(model)) in str(caught.value)


def costs(model):
    rows = tfag.conversion_report(model).rows
    return {row.name: row.share for row in rows}


@pytest.mark.parametrize(
    ("kind", "shape", "arguments", "cost"),
    [
        (keras.layers.Conv1D, LINE, {"filters": 5}, 6 * 3 * 4 * 5),
        (keras.layers.Conv2D, IMAGE, {"filters": 5}, 36 * 9 * 4 * 5),
        (keras.layers.Conv2D, IMAGE, {"filters": 6, "groups": 2}, 36 * 9 * 4 * 6 // 2),
        (
            keras.layers.Conv2D,
            IMAGE,
            {"filters": 5, "strides": (2, 3), "padding": "same"},
            4 * 3 * 9 * 4 * 5,
        ),
        (keras.layers.Conv3D, VOLUME, {"filters": 5}, 216 * 27 * 4 * 5),
        (
            keras.layers.Conv2DTranspose,
            IMAGE,
            {"filters": 5, "strides": 2},
            64 * 9 * 4 * 5,
        ),
        (keras.layers.DepthwiseConv2D, IMAGE, {"depth_multiplier": 2}, 36 * 9 * 4 * 2),
        (
            keras.layers.SeparableConv2D,
            IMAGE,
            {"filters": 5, "depth_multiplier": 2},
            36 * 9 * 4 * 2 + 36 * 4 * 2 * 5,
        ),
        (
            keras.layers.Conv2D,
            (4, 8, 8),
            {"filters": 5, "data_format": "channels_first"},
            36 * 9 * 4 * 5,
        ),
    ],
)
def test_cost_is_the_multiply_adds_of_the_exact_gradient(kind, shape, arguments, cost):
    inputs = keras.Input(shape), keras.Input((8, 8, 4))
    outputs = kind(kernel_size=3, name="layer", **arguments)(inputs[0])
    # A layer of a cost that is known: 64 positions of a 3x3 window, 4 and 4 channels.
    model = keras.Model(inputs, [outputs, conv("known")(inputs[1])])
    share = costs(model)["layer"]
    assert share / (1 - share) == pytest.approx(cost / (64 * 9 * 4 * 4))


def test_depthwise_part_of_a_separable_layer_is_not_counted_as_converted():
    separable = keras.layers.SeparableConv2D(
        5, 3, padding="same", depth_multiplier=2, name="separable"
    )
    model = sequence(separable, conv("plain", filters=6))
    assert tfag.conversion_report(model).share == 0
    report = tfag.conversion_report(
        tfag.approximate_gradients(model, tfag.Constant("max"), "separable")
    )
    depthwise, pointwise, plain = 9 * 4 * 2, 4 * 2 * 5, 9 * 5 * 6
    total = depthwise + pointwise + plain
    row = report.rows[0]
    assert row.share == pytest.approx((depthwise + pointwise) / total)
    assert row.converted_share == pytest.approx(pointwise / total)
    assert report.rows[1].converted_share == 0
    assert report.share == row.converted_share
    assert str(report).endswith(
        f"1 of 2 convolutions, {pointwise / total:.1%} of the cost of the exact filter "
        "gradients"
    )


def test_layer_counts_once_for_each_time_that_it_is_called():
    inputs = keras.Input(IMAGE)
    twice, once = conv("twice"), conv("once")
    pooled = keras.layers.MaxPooling2D()(once(twice(inputs)))
    model = keras.Model(inputs, twice(pooled))
    # The second time on a quarter of the positions.
    assert costs(model) == pytest.approx({"once": 1 / 2.25, "twice": 1.25 / 2.25})
    part = sequence(conv("inside"))
    outer = keras.Model(inputs, part(conv("outside")(part(inputs))))
    assert costs(outer) == pytest.approx({"inside": 2 / 3, "outside": 1 / 3})
    frames = keras.Input((5, *IMAGE))
    model = keras.Model(
        [inputs, frames],
        [
            conv("image")(inputs),
            keras.layers.TimeDistributed(conv("frames"))(frames),
        ],
    )
    assert costs(model) == pytest.approx({"image": 1 / 6, "frames": 5 / 6})


def test_layers_inside_subclassed_models_and_users_layers_have_shares():
    shares = costs(subclassed())
    assert len(shares) == 6
    assert list(shares.values()) == pytest.approx([1 / 6] * 6)
    # Its layers have no configuration; the report does without.
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, Factor(2.0)(Block()(inputs)))
    assert costs(model) == {"inner1": 0.5, "inner2": 0.5}
    np.testing.assert_array_equal(model(X).shape, (6, 8, 8, 3))


class Factor(keras.layers.Layer):
    """Has no configuration: its constructor has an argument."""

    def __init__(self, factor):
        super().__init__()
        self.factor = tf.constant(factor)

    def call(self, x):
        return self.factor * x

    def get_config(self):
        raise NotImplementedError
