"""The paper's networks: their layers, sizes, initial weights, copies and refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly

import tf_approxgrad as tfag

CNN2_CONVOLUTIONS = ["conv1", "conv2"]
VGG19_CONVOLUTIONS = [
    f"block{block}_conv{i}"
    for block, convolutions in enumerate((2, 2, 4, 4, 4), 1)
    for i in range(1, convolutions + 1)
]


def resnet_convolutions(blocks):
    return ["conv1"] + [
        f"stage{stage}_block{block}_conv{i}"
        for stage in (1, 2, 3)
        for block in range(1, blocks + 1)
        for i in (1, 2)
    ]


RESNET14 = resnet_convolutions(blocks=2)
# Narrow and shallow versions for the tests that don't count anything.
SMALL = {
    "cnn2": lambda *args, **kwargs: tfag.models.cnn2(*args, width=0.125, **kwargs),
    "resnet": lambda *args, **kwargs: tfag.models.resnet(
        8, *args, width=0.25, **kwargs
    ),
    "vgg19": lambda *args, **kwargs: tfag.models.vgg19(*args, width=0.0625, **kwargs),
}
BUILDERS = {
    "cnn2": tfag.models.cnn2,
    "resnet": tfag.models.resnet,
    "vgg19": tfag.models.vgg19,
}
each_small = pytest.mark.parametrize("build", SMALL.values(), ids=SMALL.keys())
# The larger networks take the same ways as the smallest, for longer.
each_small_slowly = pytest.mark.parametrize(
    "build",
    [
        pytest.param(build, id=name, marks=[pytest.mark.slow] * (name != "cnn2"))
        for name, build in SMALL.items()
    ],
)
each_builder = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS.keys())


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def random_images(shape=(4, 12, 10, 3), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def trained(model):
    """Moves the moving averages and zero biases away from their initial values."""
    generator = np.random.default_rng(1)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    return model


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class TestArchitecture:
    @pytest.mark.parametrize(
        ("build", "names", "count"),
        [
            (tfag.models.cnn2, CNN2_CONVOLUTIONS, 2),
            (tfag.models.resnet, resnet_convolutions(blocks=3), 19),
            (lambda width: tfag.models.resnet(14, width=width), RESNET14, 13),
            (tfag.models.vgg19, VGG19_CONVOLUTIONS, 16),
        ],
        ids=["cnn2", "resnet20", "resnet14", "vgg19"],
    )
    def test_convolutions_stand_in_forward_order(self, build, names, count):
        model = build(width=0.125)
        assert [layer.name for layer in convolutions(model)] == names
        assert len(convolutions(model)) == count
        assert all(type(layer) is keras.layers.Conv2D for layer in convolutions(model))

    def test_cnn2_has_the_size_of_the_tensorflow_tutorial(self):
        # The tutorial states 1,068,298 for its 24x24 crops. Its local response
        # normalisation has no parameters; ours has a scale and an offset for each of
        # 2 * 64 channels.
        model = tfag.models.cnn2(input_shape=(24, 24, 3))
        assert trainable_parameters(model) == 1_068_298 + 2 * 2 * 64

    def test_resnets_have_the_published_size(self):
        # He et al., Table 6: 0.27 M for ResNet-20.
        assert trainable_parameters(tfag.models.resnet(depth=20)) == 269_722
        assert trainable_parameters(tfag.models.resnet(depth=14)) == 172_506

    def test_vgg19_has_the_published_size(self):
        # Configuration E's convolutions without biases, which batch normalisation
        # makes superfluous, its scales and offsets, and the three dense layers.
        kernels = 20_018_880
        channels = 2 * 64 + 2 * 128 + 4 * 256 + 8 * 512
        dense = 2 * (512 * 512 + 512) + 512 * 10 + 10
        model = tfag.models.vgg19()
        assert trainable_parameters(model) == kernels + 2 * channels + dense
        stock = keras.applications.VGG19(weights=None, include_top=False)
        assert kernels + channels == stock.count_params()

    @pytest.mark.parametrize(
        "input_shape", [(28, 28, 1), (33, 19, 2), *slowly((32, 32, 3))]
    )
    @each_small
    def test_images_of_any_size_give_one_row_of_logits_each(self, build, input_shape):
        model = build(input_shape, 7)
        assert model.input_shape == (None, *input_shape)
        logits = model(random_images((2, *input_shape)))
        assert logits.shape == (2, 7)
        # A softmax would make each row sum to one.
        assert not np.allclose(np.sum(logits, axis=-1), 1)

    @each_builder
    def test_cifar_is_the_default_in_either_layout(self, build):
        last, first = (
            build(width=0.125, **options)
            for options in ({}, {"data_format": "channels_first"})
        )
        assert last.input_shape == (None, 32, 32, 3)
        assert first.input_shape == (None, 3, 32, 32)

    @each_builder
    def test_layout_follows_the_keras_configuration(self, build):
        before = keras.config.image_data_format()
        keras.config.set_image_data_format("channels_first")
        try:
            assert build(width=0.125).input_shape == (None, 3, 32, 32)
        finally:
            keras.config.set_image_data_format(before)

    @each_small_slowly
    def test_both_layouts_compute_the_same(self, build):
        last = trained(build((12, 10, 3)))
        first = build((3, 12, 10), data_format="channels_first")
        first.set_weights(last.get_weights())
        images = random_images()
        # XLA has channels-first kernels of everything, on a CPU too.
        compiled = tf.function(first, jit_compile=True)
        np.testing.assert_allclose(
            compiled(np.transpose(images, (0, 3, 1, 2))), last(images), atol=1e-4
        )

    def test_width_scales_every_hidden_layer(self):
        model = tfag.models.cnn2(width=0.25)
        assert [layer.filters for layer in convolutions(model)] == [16, 16]
        assert model.get_layer("dense1").units == 96
        assert model.get_layer("logits").units == 10
        narrowest = tfag.models.resnet(8, width=1e-6)
        assert {layer.filters for layer in convolutions(narrowest)} == {1}
        assert narrowest(random_images((2, 32, 32, 3))).shape == (2, 10)

    def test_models_carry_their_depth_or_the_given_name(self):
        assert tfag.models.resnet(depth=14, width=0.25).name == "resnet14"
        assert tfag.models.resnet(depth=8, width=0.25, name="mine").name == "mine"
        assert tfag.models.cnn2(name="mine", width=0.25).name == "mine"
        assert tfag.models.vgg19(name="mine", width=0.25).name == "mine"


class TestShortcuts:
    @pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
    def test_halving_shortcut_subsamples_and_appends_zero_channels(self, data_format):
        first = data_format == "channels_first"
        model = tfag.models.resnet(
            8, (3, 9, 6) if first else (9, 6, 3), data_format=data_format
        )
        layers = [
            model.get_layer(name)
            for name in ("stage1_block1_relu2", "stage2_block1_zeros")
        ]
        probe = keras.Model(model.input, [layer.output for layer in layers])
        images = random_images((4, 3, 9, 6) if first else (4, 9, 6, 3))
        before, after = tf.function(probe, jit_compile=first)(images)
        if first:
            before, after = (tf.transpose(x, (0, 2, 3, 1)) for x in (before, after))
        assert np.abs(before).max() > 0
        expected = np.zeros((4, 5, 3, 32), np.float32)
        expected[..., :16] = before[:, ::2, ::2]
        np.testing.assert_array_equal(after, expected)

    def test_blocks_add_their_input_to_the_second_convolution(self):
        model = tfag.models.resnet(20, (8, 8, 3), width=0.25)
        # Without the scale of its last normalisation a block's main path is zero.
        for layer in model.layers:
            if layer.name.endswith("norm2"):
                layer.gamma.assign(tf.zeros_like(layer.gamma))
        names = ["conv1_relu", "stage1_block3_relu2", "stage3_block3_relu2"]
        outputs = [model.get_layer(name).output for name in names]
        start, middle, end = keras.Model(model.input, outputs)(
            random_images((2, 8, 8, 3))
        )
        assert np.abs(start).max() > 0
        np.testing.assert_array_equal(middle, start)
        np.testing.assert_array_equal(end[..., :4], start[:, ::4, ::4])
        np.testing.assert_array_equal(end[..., 4:], np.zeros((2, 2, 2, 12)))


class TestInitialisation:
    @each_small
    def test_same_seed_gives_the_same_weights(self, build):
        first, second = build(seed=3), build(seed=3)
        for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    @each_small
    def test_another_seed_gives_other_weights_in_every_kernel(self, build):
        first, second = build(seed=3), build(seed=4)
        for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
            if a.ndim > 1:
                assert not np.any(a == b)

    def test_kernels_of_one_shape_differ_within_and_across_neighbouring_seeds(self):
        kernels = [
            layer.kernel.numpy().tobytes()
            for seed in range(3)
            for layer in convolutions(tfag.models.resnet(8, seed=seed, width=0.25))
        ]
        assert len(kernels) == len(set(kernels)) == 3 * 7

    def test_no_seed_leaves_the_weights_to_keras_global_seed(self):
        def kernel():
            return tfag.models.cnn2(width=0.25).get_layer("conv1").kernel.numpy()

        keras.utils.set_random_seed(1)
        first, second = kernel(), kernel()
        assert not np.any(first == second)
        keras.utils.set_random_seed(1)
        np.testing.assert_array_equal(kernel(), first)

    def test_kernels_have_the_deviation_of_he(self):
        model = tfag.models.vgg19(seed=0, width=0.5)
        for layer in [*convolutions(model)[1:], model.get_layer("dense1")]:
            kernel = layer.kernel.numpy()
            deviation = np.sqrt(2 / np.prod(kernel.shape[:-1]))
            assert np.std(kernel) == pytest.approx(deviation, rel=0.05)

    @each_small
    def test_weight_decay_adds_the_sum_of_squares_of_every_kernel(self, build):
        model = build(weight_decay=0.01, seed=0)
        squares = sum(
            np.sum(np.square(weight))
            for weight in model.get_weights()
            if weight.ndim > 1
        )
        assert float(sum(model.losses)) == pytest.approx(0.01 * squares, rel=1e-4)
        assert build().losses == []

    @each_small
    def test_momentum_reaches_every_normalisation(self, build):
        model = build(batch_norm_momentum=0.75)
        norms = [
            layer.momentum
            for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        assert norms == [0.75] * len(convolutions(model))

    @pytest.mark.parametrize(
        ("policy", "hidden", "output"),
        [
            ("mixed_bfloat16", "bfloat16", "float32"),
            ("mixed_float16", "float16", "float32"),
            ("float64", "float64", "float64"),
        ],
    )
    @each_small
    def test_logits_have_the_dtype_of_the_variables(
        self, build, policy, hidden, output
    ):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            model = build()
        finally:
            keras.config.set_dtype_policy(before)
        assert model.get_layer("logits").input.dtype == hidden
        assert model.output.dtype == output


class TestCopies:
    @each_small
    def test_saved_model_gives_identical_outputs(self, build, tmp_path):
        model = trained(build((12, 10, 3), weight_decay=1e-4))
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        images = random_images()
        np.testing.assert_array_equal(loaded(images), model(images))

    @each_small
    def test_clone_gives_identical_outputs(self, build):
        model = trained(build((12, 10, 3)))
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        images = random_images()
        np.testing.assert_array_equal(clone(images), model(images))
        assert [layer.name for layer in convolutions(clone)] == [
            layer.name for layer in convolutions(model)
        ]

    @each_small_slowly
    def test_exported_model_gives_the_same_outputs(self, build, tmp_path):
        model = trained(build((12, 10, 3)))
        model.export(tmp_path / "exported", verbose=False)
        exported = tf.saved_model.load(tmp_path / "exported")
        images = random_images()
        np.testing.assert_allclose(exported.serve(images), model(images), atol=1e-5)

    @pytest.mark.skipif(not hasattr(tf, "lite"), reason="TensorFlow without TFLite")
    @pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
    @each_small_slowly
    def test_tflite_model_needs_builtin_operations_only(self, build, tmp_path):
        # The converter refuses others by default.
        model = trained(build((12, 10, 3)))
        model.export(tmp_path / "exported", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "exported"))
        interpreter = tf.lite.Interpreter(model_content=converter.convert())
        images = random_images()
        (source,) = interpreter.get_input_details()
        (target,) = interpreter.get_output_details()
        interpreter.resize_tensor_input(source["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        np.testing.assert_allclose(
            interpreter.get_tensor(target["index"]), model(images), atol=1e-4
        )


@each_small_slowly
def test_one_step_decreases_the_loss_of_its_batch(build):
    model = build((12, 10, 3), seed=0)
    # Small, as a batch of 8 through VGG-19's normalisations has a steep loss.
    model.compile(keras.optimizers.SGD(1e-4), loss())
    images, labels = random_images((8, 12, 10, 3)), np.arange(8)
    before = float(loss()(labels, model(images, training=True)))
    model.train_on_batch(images, labels)
    after = float(loss()(labels, model(images, training=True)))
    assert np.isfinite(after)
    assert after < before


@pytest.mark.parametrize("depth", [2, 7, -4, 0])
def test_resnet_refuses_a_depth_without_blocks(depth):
    with pytest.raises(ValueError, match=rf"depth must be .*>= 8, got {depth}"):
        tfag.models.resnet(depth)


@pytest.mark.parametrize("depth", [9, 18, 19, 21, 40, 111])
def test_resnet_refuses_a_depth_other_than_6n_plus_2(depth):
    with pytest.raises(ValueError, match=rf"depth={depth} must be 6n \+ 2"):
        tfag.models.resnet(depth)


@pytest.mark.parametrize("depth", [20.0, "20", None, True])
def test_resnet_refuses_a_depth_that_is_no_integer(depth):
    with pytest.raises(TypeError, match=r"depth must be an integer"):
        tfag.models.resnet(depth)


@pytest.mark.parametrize(
    ("name", "value", "error", "allowed"),
    [
        ("input_shape", (28, 28), ValueError, "3 integers of at least 1"),
        ("input_shape", (None, 28, 28, 1), ValueError, "without the batch"),
        ("input_shape", (None, None, 3), ValueError, "3 integers of at least 1"),
        ("input_shape", (28, 0, 1), ValueError, "3 integers of at least 1"),
        ("input_shape", (28, -28, 1), ValueError, "3 integers of at least 1"),
        ("input_shape", (28.0, 28, 1), ValueError, "3 integers of at least 1"),
        ("input_shape", (28, 28, True), ValueError, "3 integers of at least 1"),
        ("input_shape", 28, TypeError, "3 integers of at least 1"),
        ("classes", 1, ValueError, ">= 2"),
        ("classes", -3, ValueError, ">= 2"),
        ("classes", 10.0, TypeError, "an integer >= 2"),
        ("width", 0.0, ValueError, "> 0"),
        ("width", -1.0, ValueError, "> 0"),
        ("width", float("inf"), ValueError, "finite"),
        ("width", "wide", TypeError, "number"),
        ("weight_decay", -1e-4, ValueError, ">= 0"),
        ("weight_decay", float("nan"), ValueError, "finite"),
        ("weight_decay", None, TypeError, "number"),
        ("batch_norm_momentum", 1.0, ValueError, "< 1"),
        ("batch_norm_momentum", -0.1, ValueError, ">= 0"),
        ("batch_norm_momentum", True, TypeError, "number"),
        ("seed", -1, ValueError, ">= 0"),
        ("seed", 1.5, TypeError, "an integer >= 0"),
        ("data_format", "NHWC", ValueError, "channels_last"),
    ],
)
@each_builder
def test_bad_arguments_are_refused_by_name(build, name, value, error, allowed):
    with pytest.raises(error) as caught:
        build(**{name: value})
    assert str(caught.value).startswith(name)
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)
