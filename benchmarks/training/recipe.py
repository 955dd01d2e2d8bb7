"""What all runs of a comparison have in common: network, images and optimizer."""

from __future__ import annotations

import argparse
import dataclasses

import keras
import tensorflow as tf

import tf_approxgrad as tfag
from benchmarks.arguments import at_least
from benchmarks.steps.networks import resnet18
from benchmarks.training import datasets
from benchmarks.training.settings import NETWORKS, Setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the networks are trained; the program's arguments of these names say more."""

    model: str = "cnn2"
    data: str = "embedded"
    images: int = 60_000
    epochs: int = 5
    batch: int = 128
    width: float = 1.0
    batch_norm_momentum: float = 0.9
    augment: bool = False
    learning_rate: float = 1e-3
    decay_rate: float = 0.9
    decay_epochs: float = 1.0


def add_recipe(parser: argparse.ArgumentParser, **defaults: object) -> None:
    """Adds an argument for each field of `Recipe`."""
    add = parser.add_argument
    add("--model", choices=NETWORKS, help="the network")
    add("--data", choices=datasets.NAMES, help="the images")
    add("--images", type=at_least(10), help="training and test images at most")
    add("--epochs", type=at_least(1), help="epochs in all")
    add("--batch", type=at_least(1), help="images in a batch")
    add("--width", type=float, help="factor on the network's channels and units")
    add("--batch_norm_momentum", type=float, help="from 0 to less than 1")
    add("--augment", action="store_true", help="crop and flip training images")
    add("--learning_rate", type=at_least(0, float), help="Adam's, at the start")
    add("--decay_rate", type=at_least(0, float), help="its factor every decay_epochs")
    add("--decay_epochs", type=at_least(0, float), help="see decay_rate")
    parser.set_defaults(**dataclasses.asdict(Recipe(**defaults)))


def read_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that the arguments describe."""
    names = [field.name for field in dataclasses.fields(Recipe)]
    return Recipe(**{name: getattr(args, name) for name in names})


def make_model(
    recipe: Recipe,
    setting: Setting,
    seed: int,
    image_shape: tuple[int, int, int],
    steps_per_epoch: int,
) -> keras.Model:
    """Builds and compiles a model, of the same initial weights for every schedule.

    Returns:
        The plain Keras model without a schedule, and otherwise a converted one whose
        schedule reads the optimizer's step.

    Raises:
        ValueError: If the schedule doesn't fit the model.
    """
    arguments = {
        "input_shape": image_shape,
        "classes": datasets.CLASSES,
        "width": recipe.width,
        "batch_norm_momentum": recipe.batch_norm_momentum,
        "seed": seed,
    }
    if setting.network == "resnet18_half":
        keras.utils.set_random_seed(seed)
        momentum = recipe.batch_norm_momentum
        model = resnet18(image_shape, round(32 * recipe.width), momentum)
    elif setting.network.startswith("resnet"):
        depth = int(setting.network.removeprefix("resnet"))
        model = tfag.models.resnet(depth, **arguments)
    else:
        model = getattr(tfag.models, setting.network)(**arguments)
    if setting.schedule is not None:
        model = tfag.approximate_gradients(
            model, setting.schedule, input_gradient=setting.input_gradient
        )
    learning_rate = keras.optimizers.schedules.ExponentialDecay(
        recipe.learning_rate,
        max(1, round(recipe.decay_epochs * steps_per_epoch)),
        recipe.decay_rate,
    )
    model.compile(
        keras.optimizers.Adam(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    # A first step that creates variables, the optimizer's or metrics', is traced twice.
    model.optimizer.build(model.trainable_variables)
    logits = tf.zeros([1, datasets.CLASSES])
    model.compute_metrics(None, tf.zeros([1], tf.int64), logits)
    model.reset_metrics()
    if setting.schedule is not None:
        tfag.bind_step(model, model.optimizer.iterations)
    return model
