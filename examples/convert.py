r"""Converts a model that you have, shows what was converted, and converts it back.

A network of keras.applications:

    python examples/convert.py --network=MobileNetV2

A model of your own, those of its convolutions whose names match:

    python examples/convert.py --model=my_model.keras --layers=conv[45] \
        --output=converted.keras

The converted model has the same weights, layer names and outputs. The program checks
that, as it does of the model that is converted back.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import keras
import numpy as np
from absl import app, flags

import tf_approxgrad as tfag

NETWORKS = ("ResNet50", "MobileNetV2", "EfficientNetB0", "DenseNet121", "ConvNeXtTiny")

FLAGS = flags.FLAGS
flags.DEFINE_enum("network", "ResNet50", NETWORKS, "A network of keras.applications.")
flags.DEFINE_integer(
    "image_size", 96, "Height and width of the network's images.", lower_bound=32
)
flags.DEFINE_string("model", None, "A .keras file to convert instead of the network.")
flags.DEFINE_string(
    "layers", None, "A regular expression: converts the layers whose names it matches."
)
flags.DEFINE_integer("k", 1, "Positions that max keeps of each channel.", lower_bound=1)
flags.DEFINE_integer("n", 4, "n of the schedule EveryNthLayer.", lower_bound=1)
flags.DEFINE_integer("start", 2, "Its first approximated layer.", lower_bound=1)
flags.DEFINE_string("output", None, "The .keras file to write the converted model to.")


def make_model() -> keras.Model:
    """The model to convert."""
    if FLAGS.model:
        return keras.models.load_model(FLAGS.model)
    make = getattr(keras.applications, FLAGS.network)
    return make(weights=None, input_shape=(FLAGS.image_size, FLAGS.image_size, 3))


def images_for(model: keras.Model) -> Any:
    """Two random examples for each of a model's inputs, unknown sizes as the flag's."""

    def images(tensor: Any) -> np.ndarray:
        shape = [FLAGS.image_size if size is None else size for size in tensor.shape]
        random = np.random.default_rng(0).normal(size=(2, *shape[1:]))
        return random.astype(tensor.dtype)

    return keras.tree.map_structure(images, model.input)


def same_outputs(first: keras.Model, second: keras.Model, images: Any) -> bool:
    outputs = [keras.tree.flatten(model(images)) for model in (first, second)]
    return all(np.array_equal(a, b) for a, b in zip(*outputs, strict=True))


def convert() -> keras.Model:
    """Converts the model that the flags name, and reports.

    Returns:
      The converted model.

    Raises:
      OSError, TypeError, ValueError: If a flag has a value that isn't allowed.
    """
    model = make_model()
    converted = tfag.approximate_gradients(
        model,
        tfag.EveryNthLayer(tfag.MaxGradient(k=FLAGS.k), n=FLAGS.n, start=FLAGS.start),
        layers=re.compile(FLAGS.layers) if FLAGS.layers else None,
    )
    print(tfag.conversion_report(converted))
    images = images_for(model)
    plain = tfag.strip_approximation(converted)
    same = [same_outputs(model, other, images) for other in (converted, plain)]
    print(f"Same outputs after conversion: {same[0]}, and converted back: {same[1]}")
    if FLAGS.output:
        converted.save(FLAGS.output)
        print(f"Written: {FLAGS.output}")
    return converted


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    try:
        convert()
    except (OSError, TypeError, ValueError, re.error) as error:
        sys.exit(f"convert.py: {error}")


if __name__ == "__main__":
    app.run(main)
