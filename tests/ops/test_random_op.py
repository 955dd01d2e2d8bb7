"""The op of the method `random`, against its description in random_normal.h."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf
from philox import philox
from programs import with_instruction_sets

from tf_approxgrad.gradients import op_library

SHAPES = [(3, 3, 5, 7), (1, 1, 1, 1), (1, 1, 256, 1), (1, 1, 257, 1), (5, 5, 16, 33)]


def normals(size: int, seed: int, layer: int, step: int) -> np.ndarray:
    """The op's numbers before scaling, in float64."""
    groups = -(-size // 256)
    counter = np.zeros([64 * groups, 4], np.uint64)
    counter[:, 0] = np.arange(64 * groups)
    counter[:, 1:] = [layer, step % 2**32, step >> 32]
    words = philox(seed % 2**64, counter)
    radius = np.sqrt(-2 * np.log(((words[:, ::2] >> np.uint64(1)) + 0.5) / 2**31))
    angle = words[:, 1::2].astype(np.float64) * (2 * np.pi / 2**32)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    # [groups, blocks, 4] -> [groups, 4, blocks]
    return pairs.reshape(groups, 64, 4).transpose(0, 2, 1).ravel()[:size]


def draw(shape=(3, 3, 5, 7), step=0, batch=4, dtype=tf.float32, **attributes):
    return op_library.approx_random_filter_gradient(
        filter_sizes=shape,
        out_backprop=tf.zeros([batch, 2, 3, 1], dtype),
        step=tf.constant(step, tf.int64),
        **attributes,
    ).numpy()


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        # The known answers that come with the paper's Random123.
        (0, [0] * 4, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (
            2**64 - 1,
            [2**32 - 1] * 4,
            [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
        ),
        (
            0x299F31D0A4093822,
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_reference_gives_the_known_answers(key, counter, words):
    np.testing.assert_array_equal(philox(key, np.array([counter]))[0], words)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("seed", "layer", "step"),
    [(0, 0, 0), (7, 3, 12), (-1, 1, 2**40 + 5), (2**63 - 1, 2**32 - 1, 2**63 - 1)],
)
def test_numbers_are_those_of_the_description(shape, seed, layer, step):
    found = draw(shape, step, seed=seed, layer=layer)
    expected = normals(int(np.prod(shape)), seed, layer, step).reshape(shape)
    # The square of a radius is right to 2e-7, small radii themselves to less.
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [tf.float64, tf.bfloat16, tf.half])
def test_other_types_are_conversions_of_float32(dtype):
    expected = draw(seed=3, layer=2, step=9)
    found = draw(seed=3, layer=2, step=9, dtype=dtype)
    np.testing.assert_array_equal(found, expected.astype(dtype.as_numpy_dtype))


@pytest.mark.parametrize(("batch", "deviation"), [(1, 1.0), (8, 0.125), (0, 0.0)])
def test_mean_over_batch_divides_by_the_batch_size(batch, deviation):
    found = draw(batch=batch, mean_over_batch=True)
    np.testing.assert_allclose(found, deviation * draw(), rtol=1e-6)


def test_numbers_reach_far_into_the_tails_and_repeat_nowhere():
    values = draw((3, 3, 512, 512)).ravel().astype(np.float64)
    assert np.isfinite(values).all()
    # Of 2.4 million, 150 are expected beyond 4 deviations, and 1.35 beyond 5.
    assert 100 < np.count_nonzero(np.abs(values) > 4) < 200
    assert np.abs(values).max() < 6.7
    assert len(np.unique(values)) > 0.9 * len(values)
    assert abs(np.mean(values**4) - 3) < 4 * np.sqrt(96 / len(values))
    for lag in (1, 2, 63, 64, 128, 192, 256):
        correlation = np.mean(values[lag:] * values[:-lag])
        assert abs(correlation) < 4.5 / np.sqrt(len(values))


def test_layers_steps_and_seeds_are_independent():
    streams = [draw((3, 3, 64, 64), seed=1, layer=2, step=3).ravel()]
    for change in ({"layer": 3}, {"step": 4}, {"seed": 2}, {"step": 3 + 2**32}):
        arguments = {"seed": 1, "layer": 2, "step": 3} | change
        streams.append(draw((3, 3, 64, 64), **arguments).ravel())
    correlations = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlations).max() < 4.5 / np.sqrt(len(streams[0]))


PROGRAM = """
from tf_approxgrad.gradients import op_library
values = op_library.approx_random_filter_gradient(
    filter_sizes=[3, 3, 200, 201], out_backprop=tf.zeros([4, 2, 3, 1]),
    step=tf.constant(5, tf.int64), seed=7, layer=3)
show(values.numpy())
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_no_thread_and_no_instruction_set_changes_a_bit(threads):
    expected = draw((3, 3, 200, 201), step=5, seed=7, layer=3)
    digest = hashlib.sha256(expected.tobytes()).hexdigest()
    runs = with_instruction_sets(PROGRAM, str(threads))
    assert runs == [[digest]] * len(runs)


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"filter_sizes": [3, 3, 5]}, "4"),
        ({"filter_sizes": [[3, 3, 5, 7]]}, "1 axis|vector of 4"),
        ({"filter_sizes": [3, 3, -5, 7]}, "-5|>= 0"),
        ({"out_backprop": tf.zeros([4, 2, 3])}, "4 axes"),
        ({"step": tf.zeros([1], tf.int64)}, "scalar|none"),
        ({"stddev": -1.0}, "stddev is -1.*at least 0"),
        ({"stddev": float("nan")}, "stddev is nan"),
        ({"layer": -1}, "-1"),
        ({"layer": 2**32}, "layer is 4294967296"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_arguments_are_refused(changes, words, eager):
    arguments = {
        "filter_sizes": [3, 3, 5, 7],
        "out_backprop": tf.zeros([4, 2, 3, 1]),
        "step": tf.constant(0, tf.int64),
    } | changes

    def call():
        return op_library.approx_random_filter_gradient(**arguments)

    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=words):
        (call if eager else tf.function(call))()


def test_shape_is_known_when_the_graph_is_made():
    @tf.function
    def call(sizes, out_backprop):
        return op_library.approx_random_filter_gradient(
            filter_sizes=[3, sizes[0], 5, 7], out_backprop=out_backprop, step=0
        )

    graph = call.get_concrete_function(
        tf.TensorSpec([1], tf.int32), tf.TensorSpec([None] * 4)
    )
    assert graph.output_shapes.as_list() == [3, None, 5, 7]
