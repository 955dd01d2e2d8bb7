"""Converts a model that you have, shows what was converted, and converts it back.

    python examples/convert.py --network=MobileNetV2
    python examples/convert.py --model=my_model.keras --layers='conv[45]' \\
        --output=converted.keras

The model is converted in place: it has the same weights, layer names and outputs. The
program checks that, as it does of the model that is converted back.
"""

import argparse
import re

import keras
import numpy as np

import tf_approxgrad as tfag


def images_for(model, size):
    """Two random examples for each of a model's inputs, unknown sizes as `size`."""

    def images(tensor):
        shape = [size if axis is None else axis for axis in tensor.shape[1:]]
        random = np.random.default_rng(0).normal(size=(2, *shape))
        return random.astype(tensor.dtype)

    return keras.tree.map_structure(images, model.input)


def are_equal(first, second):
    outputs = map(keras.tree.flatten, (first, second))
    return all(np.array_equal(a, b) for a, b in zip(*outputs, strict=True))


def main(network="ResNet50", model=None, layers=None, size=96, output=None):
    """Converts a network of `keras.applications` or a file, and back."""
    if model:
        model = keras.models.load_model(model)
    else:
        make = getattr(keras.applications, network)
        model = make(weights=None, input_shape=(size, size, 3))
    images = images_for(model, size)
    before = model(images)
    method = tfag.RowSampledGradient(
        share=0.5, probability="product", keep_largest=True
    )
    tfag.approximate_gradients(
        model,
        tfag.Constant(method),
        layers=re.compile(layers) if layers else None,
    )
    print(tfag.conversion_report(model))
    print(f"Same outputs after conversion: {are_equal(model(images), before)}")
    if output:
        model.save(output)
    tfag.strip_approximation(model)
    print(f"Same outputs after conversion back: {are_equal(model(images), before)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="ResNet50", help="of keras.applications")
    parser.add_argument("--model", help="a .keras file, in place of the network")
    parser.add_argument("--layers", help="matches the names of layers to convert")
    parser.add_argument("--size", type=int, default=96, help="of the images")
    parser.add_argument("--output", help="the .keras file to write")
    main(**vars(parser.parse_args()))
