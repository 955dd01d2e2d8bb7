"""What every test shares: a quiet TensorFlow, fixed seeds, and no GPU means a skip."""

import gc
import os

# Read by TensorFlow when it is first imported. Without oneDNN, which it leaves out on
# older CPUs, it has no convolutions of the layout NCHW there.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import hypothesis
import keras
import pytest
import tensorflow as tf

# Modules that tests import: doctest would import each a second time.
collect_ignore = ["support"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU on this machine")


def pytest_collection_finish() -> None:
    # What is imported stays: looking it through again and again takes a sixth of the
    # time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    keras.utils.set_random_seed(20190801)


# No test is timed: the first call of a function traces it, and machines are busy.
hypothesis.settings.register_profile("tf_approxgrad", deadline=None, max_examples=40)
hypothesis.settings.load_profile("tf_approxgrad")
