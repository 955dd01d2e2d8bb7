"""The public behaviour of keras.layers.Conv2D, the same cases over both layers.

Whatever holds for Keras' layer holds for ApproxConv2D: a peer's tests, written against
Keras' documentation and not against this package.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_approxgrad as tfag

SHAPES = {
    "defaults": ({}, (2, 7, 6, 3), (2, 5, 4, 4)),
    "same": ({"padding": "same"}, (2, 7, 6, 3), (2, 7, 6, 4)),
    "strides": ({"strides": 2}, (2, 7, 6, 3), (2, 3, 2, 4)),
    "uneven strides": (
        {"strides": (1, 3), "padding": "same"},
        (2, 7, 6, 3),
        (2, 7, 2, 4),
    ),
    "dilation": ({"dilation_rate": 2}, (2, 7, 6, 3), (2, 3, 2, 4)),
    "uneven dilation": (
        {"dilation_rate": (1, 2), "padding": "same"},
        (2, 7, 6, 3),
        (2, 7, 6, 4),
    ),
    "kernel of one": ({"kernel_size": 1}, (2, 7, 6, 3), (2, 7, 6, 4)),
    "uneven kernel": ({"kernel_size": (2, 5)}, (2, 7, 6, 3), (2, 6, 2, 4)),
    "channels first": (
        {"data_format": "channels_first"},
        (2, 3, 7, 6),
        (2, 4, 5, 4),
    ),
}
each_shape = pytest.mark.parametrize(
    ("arguments", "input_shape", "output_shape"), SHAPES.values(), ids=SHAPES
)


@pytest.mark.parametrize(
    "layer_class", [keras.layers.Conv2D, tfag.ApproxConv2D], ids=["keras", "ours"]
)
class TestConv2D:
    """Each test runs over both classes."""

    def layer(self, layer_class, **arguments):
        if layer_class is tfag.ApproxConv2D:
            arguments = {"method": "max"} | arguments
        return layer_class(**({"filters": 4, "kernel_size": 3} | arguments))

    @each_shape
    @pytest.mark.parametrize("training", [True, False, None])
    def test_output_has_the_shape_that_is_computed_and_inferred(
        self, layer_class, arguments, input_shape, output_shape, training
    ):
        layer = self.layer(layer_class, **arguments)
        assert layer.compute_output_shape(input_shape) == output_shape
        symbolic = layer(keras.KerasTensor(input_shape))
        assert tuple(symbolic.shape) == output_shape
        called = {} if layer_class is keras.layers.Conv2D else {"training": training}
        outputs = layer(np.ones(input_shape, np.float32), **called)
        assert tuple(outputs.shape) == output_shape

    def test_unknown_sizes_stay_unknown(self, layer_class):
        layer = self.layer(layer_class, padding="same", strides=2)
        expected = (None, None, None, 4)
        assert layer.compute_output_shape((None, None, None, 3)) == expected
        assert tuple(layer(keras.Input((None, None, 3))).shape) == expected

    def test_output_is_the_convolution(self, layer_class):
        layer = self.layer(layer_class, activation="relu", strides=2, padding="same")
        x = np.random.default_rng(0).normal(size=(2, 7, 6, 3)).astype(np.float32)
        layer.build(x.shape)
        layer.bias.assign(tf.range(4, dtype=tf.float32))
        expected = tf.nn.conv2d(x, layer.kernel.value, 2, "SAME") + layer.bias.value
        np.testing.assert_allclose(layer(x), tf.nn.relu(expected), 1e-6, 1e-6)

    def test_weights_have_names_shapes_and_order(self, layer_class):
        layer = self.layer(layer_class)
        layer.build((None, 7, 6, 3))
        assert [w.name for w in layer.weights] == ["kernel", "bias"]
        assert [tuple(w.shape) for w in layer.weights] == [(3, 3, 3, 4), (4,)]
        assert len(layer.trainable_weights) == 2
        layer.trainable = False
        assert layer.trainable_weights == []
        plain = self.layer(layer_class, use_bias=False)
        plain.build((None, 7, 6, 3))
        assert len(plain.weights) == 1
        assert plain.bias is None

    def test_initializers_regularizers_and_constraints_are_applied(self, layer_class):
        layer = self.layer(
            layer_class,
            kernel_initializer="ones",
            bias_initializer=keras.initializers.Constant(-2.0),
            kernel_regularizer=keras.regularizers.L2(0.5),
            bias_regularizer="l1",
            activity_regularizer=keras.regularizers.L1(1e-3),
            bias_constraint="non_neg",
        )
        layer(np.zeros((1, 3, 3, 3), np.float32))
        assert np.all(layer.kernel.numpy() == 1)
        losses = sorted(float(loss) for loss in layer.losses)
        # bias 0.01 * 8, activity 1e-3 * 8, kernel 0.5 * 108.
        assert losses == pytest.approx([1e-3 * 8, 0.01 * 8, 0.5 * 108])
        assert np.all(layer.bias.constraint(layer.bias) == 0)

    @pytest.mark.parametrize(
        ("policy", "compute", "variable"),
        [
            ("float32", "float32", "float32"),
            ("float64", "float64", "float64"),
            ("mixed_bfloat16", "bfloat16", "float32"),
            ("mixed_float16", "float16", "float32"),
            ("bfloat16", "bfloat16", "bfloat16"),
        ],
    )
    def test_dtype_policies_decide_computation_and_variables(
        self, layer_class, policy, compute, variable
    ):
        layer = self.layer(layer_class, dtype=policy)
        outputs = layer(np.ones((1, 5, 5, 3), np.float32))
        assert outputs.dtype == compute
        assert layer.kernel.dtype == layer.bias.dtype == variable
        assert (layer.compute_dtype, layer.variable_dtype) == (compute, variable)
        assert layer.dtype_policy.name == policy

    def test_serialisation_keeps_every_argument(self, layer_class):
        layer = self.layer(
            layer_class,
            strides=(2, 1),
            padding="same",
            data_format="channels_last",
            activation="gelu",
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed=3),
            kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2),
            kernel_constraint=keras.constraints.MaxNorm(1.5),
            dtype="mixed_bfloat16",
            trainable=False,
            name="named",
        )
        twin = layer_class.from_config(layer.get_config())
        assert twin.get_config() == layer.get_config()
        restored = keras.layers.deserialize(keras.layers.serialize(layer))
        assert type(restored) is layer_class
        assert restored.get_config() == layer.get_config()
        assert restored.name == "named"
        assert not restored.trainable

    @pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
    def test_files_restore_the_weights(self, layer_class, suffix, tmp_path):
        def make():
            inputs = keras.Input((7, 6, 3))
            return keras.Model(inputs, self.layer(layer_class)(inputs))

        model, path = make(), tmp_path / f"model{suffix}"
        if suffix == ".keras":
            model.save(path)
            loaded = keras.models.load_model(path)
        else:
            model.save_weights(path)
            loaded = make()
            loaded.load_weights(path)
        x = np.ones((1, 7, 6, 3), np.float32)
        np.testing.assert_array_equal(loaded(x), model(x))

    def test_mask_of_the_input_is_dropped_as_by_a_layer_without_masks(
        self, layer_class
    ):
        layer = self.layer(layer_class)
        assert not layer.supports_masking
        x = tf.ones((2, 7, 6, 3))
        keras.src.backend.set_keras_mask(x, tf.ones((2, 7), tf.bool))
        with pytest.warns(UserWarning, match="does not support mask"):
            outputs = layer(x)
        assert getattr(outputs, "_keras_mask", None) is None

    def test_lora_trains_two_small_kernels_in_the_kernels_place(self, layer_class):
        layer = self.layer(layer_class)
        layer.build((None, 7, 6, 3))
        before = layer.kernel.numpy()
        layer.enable_lora(2)
        names = [w.name for w in layer.trainable_weights]
        assert names == ["bias", "lora_kernel_a", "lora_kernel_b"]
        layer.lora_kernel_b.assign(tf.ones_like(layer.lora_kernel_b))
        assert not np.allclose(layer.kernel, before)
        x = np.ones((1, 7, 6, 3), np.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) ** 2)
        gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
        assert all(np.any(gradient) for gradient in gradients)

    def test_quantisation_is_refused(self, layer_class):
        layer = self.layer(layer_class)
        layer.build((None, 7, 6, 3))
        with pytest.raises(NotImplementedError, match="quantize"):
            layer.quantize("int8")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"filters": 0}, "filters"),
            ({"filters": -1}, "filters"),
            ({"kernel_size": (3, 0)}, "kernel_size"),
            ({"kernel_size": (3, 3, 3)}, "kernel_size"),
            ({"strides": 0}, "strides"),
            ({"strides": 2, "dilation_rate": 2}, "dilation_rate"),
            ({"padding": "causal"}, "padding"),
            ({"padding": "full"}, "padding"),
            ({"data_format": "nhwc"}, "data_format"),
            ({"groups": 0}, "groups"),
            ({"groups": 3}, "groups"),
            ({"activation": "unknown"}, "unknown"),
        ],
        ids=str,
    )
    def test_bad_arguments_are_refused_at_construction(
        self, layer_class, arguments, words
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            self.layer(layer_class, **arguments)

    @pytest.mark.parametrize("shape", [(2, 7, 3), (2, 3), (2, 7, 6, 5)], ids=str)
    def test_input_of_another_rank_or_channels_is_refused(self, layer_class, shape):
        layer = self.layer(layer_class)
        layer.build((None, 7, 6, 3))
        with pytest.raises(ValueError, match="incompatible with the layer"):
            layer(np.ones(shape, np.float32))

    def test_image_smaller_than_the_kernel_is_refused(self, layer_class):
        with pytest.raises(ValueError, match="output"):
            self.layer(layer_class).build((None, 2, 2, 3))

    def test_one_more_batch_axis_is_not_refused_more_than_by_keras(self, layer_class):
        layer = self.layer(layer_class)
        x = np.random.default_rng(0).normal(size=(2, 3, 7, 6, 3)).astype(np.float32)
        try:
            expected = self.layer(keras.layers.Conv2D)(x).shape
        except Exception as error:
            with pytest.raises(type(error)):
                layer(x)
        else:
            assert layer(x).shape == expected

    def test_inputs_of_other_dtypes_are_cast(self, layer_class):
        layer = self.layer(layer_class)
        for dtype in (np.float64, np.float16):
            assert layer(np.ones((1, 5, 5, 3), dtype)).dtype == "float32"

    def test_layer_runs_in_a_function_and_in_a_map_over_a_dataset(self, layer_class):
        layer = self.layer(layer_class)
        layer.build((None, 5, 5, 3))
        x = np.random.default_rng(0).normal(size=(4, 5, 5, 3)).astype(np.float32)
        expected = layer(x)
        np.testing.assert_allclose(tf.function(layer)(x), expected, 1e-5, 1e-5)
        data = tf.data.Dataset.from_tensor_slices(x).batch(2).map(layer)
        np.testing.assert_allclose(tf.concat(list(data), 0), expected, 1e-5, 1e-5)

    def test_model_of_it_fits_evaluates_and_predicts(self, layer_class):
        model = keras.Sequential([keras.Input((5, 5, 3)), self.layer(layer_class)])
        model.compile("adam", "mse")
        x = np.random.default_rng(0).normal(size=(4, 5, 5, 3)).astype(np.float32)
        y = np.zeros((4, 3, 3, 4), np.float32)
        losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        assert model.evaluate(x, y, verbose=0) < losses[0]
        assert model.predict(x, verbose=0).shape == y.shape


def test_groups_are_keras_own_only():
    x = np.ones((1, 5, 5, 4), np.float32)
    assert keras.layers.Conv2D(4, 3, groups=2)(x).shape == (1, 3, 3, 4)
    with pytest.raises(ValueError, match=r"groups=2.*use keras\.layers\.Conv2D"):
        tfag.ApproxConv2D(4, 3, groups=2, method="max")
