"""Gradients under `tf.distribute`: methods, means and draws by replica.

MirroredStrategy on two logical CPUs, which only a new process can have.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import json
import keras
import numpy as np
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
logical = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [logical] * 2)

import tf_approxgrad as tfag
from tf_approxgrad import methods
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.inputs import GradientInputs

random = np.random.default_rng(0)
X = random.normal(size=[2, 4, 8, 8, 2]).astype("float32")
DY = random.normal(size=[2, 4, 8, 8, 3]).astype("float32")
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def gradients(schedule, steps, x=X, dy=DY, calls=1):
    # The layer's gradient on each replica at each step: [step][replica].
    with STRATEGY.scope():
        layer = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)
        model = keras.Sequential([keras.Input(x.shape[2:]), layer])
        tfag.approximate_gradients(model, schedule)
        step = tf.Variable(0, dtype=tf.int64, aggregation=AGGREGATION)
        tfag.bind_step(model, step)

    def compute():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine, weights = tf.constant(x)[replica], tf.constant(dy)[replica]
        with tf.GradientTape() as tape:
            outputs = [layer(mine, training=True) for _ in range(calls)]
            loss = tf.reduce_sum(tf.add_n(outputs) * weights)
        return tape.gradient(loss, layer.trainable_weights[0].value)

    @tf.function
    def run():
        return STRATEGY.experimental_local_results(STRATEGY.run(compute))

    found = []
    for number in range(steps):
        step.assign(number)
        found.append([np.asarray(each) for each in run()])
    return np.array(found)


def alone(method, replica, step):
    # What a single device computes of a replica's batch, in the first layer.
    inputs = GradientInputs(
        tf.constant(X[replica]), tf.constant([3, 3, 2, 3]), tf.constant(DY[replica]),
        ConvArguments.parse(1, "SAME", "NHWC", 1), step=tf.constant(step, tf.int64),
        layer=1, stream=1)
    return np.asarray(filter_gradient(methods.get(method), inputs))


AGGREGATION = tf.VariableAggregation.ONLY_FIRST_REPLICA
"""


def run(program: str) -> list:
    """The values of JSON that a program prints, one in a line."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def found() -> list:
    return run(
        """
full = np.array([alone("full", replica, 0) for replica in range(2)])
zero = tfag.TableSchedule([["zero", "full"]])
for mean_over in ("all", "computed"):
    staggered = gradients(tfag.Staggered(zero, 2, mean_over), steps=4)
    print(json.dumps((staggered / full).mean((2, 3, 4, 5)).tolist()))

rows = tfag.RowSampledGradient(share=0.5)
drawn = gradients(tfag.Constant(rows), steps=2)
expected = [[alone(rows, r, s + (r << 40)) for r in range(2)] for s in range(2)]
print(json.dumps(float(abs(drawn - expected).max())))

same = np.stack([X[0]] * 2), np.stack([DY[0]] * 2)
drawn = gradients(tfag.Constant(rows), 300, *same)
print(json.dumps(float((abs(drawn.mean(1) - full[0]) ** 2).sum((1, 2, 3, 4)).mean())))
print(json.dumps(float((abs(drawn[:, 0] - full[0]) ** 2).sum((1, 2, 3, 4)).mean())))
print(json.dumps(float(abs(drawn.mean((0, 1)) - full[0]).max() / drawn.std())))

twice = gradients(tfag.Constant(rows), steps=1, calls=2)[0, 0]
first, second = alone(rows, 0, 0), alone(rows, 0, 1 << 56)
print(json.dumps(float(abs(twice - first - second).max())))

random = gradients(tfag.Constant("random"), steps=1)[0]
print(json.dumps(float(abs(random[0] - random[1]).max())))

batch = gradients(tfag.Constant(tfag.MaxGradient(scale="batch")), steps=1)[0]
expected = [alone(tfag.MaxGradient(scale="batch"), r, 0) / 2 for r in range(2)]
print(json.dumps(float(abs(batch - expected).max())))
"""
    )


def test_staggered_replicas_take_turns(found: list) -> None:
    np.testing.assert_allclose(found[0], [[0, 1], [1, 0]] * 2, atol=1e-4)


def test_mean_over_those_that_compute_makes_up_for_the_others(found: list) -> None:
    np.testing.assert_allclose(found[1], [[0, 2], [2, 0]] * 2, atol=1e-4)


def test_draws_are_a_function_of_the_step_and_the_replica(found: list) -> None:
    assert found[2] < 1e-4


def test_mean_of_two_replicas_has_half_the_variance_and_no_bias(found: list) -> None:
    # Of one batch on both: draws that were alike would leave the variance as it is.
    of_mean, of_one, bias = found[3:6]
    assert 0.4 < of_mean / of_one < 0.6
    assert bias < 0.2


def test_two_calls_of_a_layer_draw_differently(found: list) -> None:
    assert found[6] < 1e-4


def test_random_gradients_are_alike_on_every_replica(found: list) -> None:
    assert found[7] == 0


def test_scale_by_the_batch_is_that_of_all_replicas(found: list) -> None:
    assert found[8] < 1e-4
