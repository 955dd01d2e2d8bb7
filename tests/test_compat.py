"""Private names of TensorFlow and Keras: what is lacking says so when it is needed."""

import keras
import pytest
import tensorflow as tf

from tf_approxgrad import _compat


def test_a_missing_function_raises_a_sentence_when_it_is_called():
    function = _compat._function("tensorflow.python.nowhere", "gone", "do a thing")
    with pytest.raises(NotImplementedError) as caught:
        function(1, key=2)
    words = str(caught.value)
    for word in ("tensorflow.python.nowhere.gone", "do a thing", tf.version.VERSION):
        assert word in words
    absent = _compat._function("tensorflow.python.pywrap_tfe", "gone", "do a thing")
    with pytest.raises(NotImplementedError, match=r"pywrap_tfe\.gone"):
        absent()


def test_a_layer_without_a_call_signature_raises_a_sentence():
    layer = keras.layers.Conv2D(2, 3)
    del vars(layer)["_call_has_training_arg"]
    with pytest.raises(NotImplementedError, match=r"_call_.*change a layer's class"):
        _compat.call_attributes(layer)


def test_tensors_are_recorded_within_a_tape():
    x = tf.ones([2])
    assert not _compat.is_recorded(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        assert _compat.is_recorded(x)


def test_xla_is_noticed_while_it_is_traced_for():
    found = []

    def function():
        found.append(_compat.in_xla_context())
        return tf.constant(0)

    tf.function(function)()
    tf.function(function, jit_compile=True)()
    assert found == [False, True]
