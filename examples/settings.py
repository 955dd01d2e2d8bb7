"""What the flags of train.py mean: methods, schedules and models."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

import tf_approxgrad as tfag
from tf_approxgrad import methods

MODELS = ("cnn2", "resnet20", "resnet14", "vgg19")
SCHEDULES = ("every_nth_layer", "alternate", "every_nth_step", "constant", "none")

_METHODS = {method.name: type(method) for method in methods.defaults()}
# Each schedule's class, and which of the --schedule_... flags it takes.
_SCHEDULES: dict[str, tuple[type[tfag.Schedule], tuple[str, ...]]] = {
    "every_nth_layer": (tfag.EveryNthLayer, ("n", "start")),
    "alternate": (tfag.Alternate, ("layers", "steps")),
    "every_nth_step": (tfag.EveryNthStep, ("n", "start")),
    "constant": (tfag.Constant, ("layers",)),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The values of train.py's flags, whose help texts describe them."""

    model: str
    width: float
    batch_norm_momentum: float
    data: str
    data_path: str | None
    validation: str
    limit: int | None
    augment: bool
    method: str | None
    compare: tuple[str, ...]
    k: int | None
    scale: str | None
    stddev: float | None
    schedule: str | None
    schedule_n: int | None
    schedule_start: int | None
    schedule_layers: str | None
    schedule_steps: int | None
    input_gradient: str | None
    epochs: int
    batch: int
    seed: int
    learning_rate: float
    decay_rate: float
    decay_epochs: float
    output: str | None
    tensorboard: str | None
    checkpoint: str | None

    @property
    def schedule_name(self) -> str:
        """The schedule asked for, or the one that the paper used for the model."""
        paper = "alternate" if self.model == "cnn2" else "every_nth_layer"
        return self.schedule or paper

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same in a run that continues another one."""
        free = {"epochs", "data_path", "output", "tensorboard", "checkpoint"}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if name not in free
        }


def make_methods(settings: Settings) -> dict[str, tfag.GradientMethod]:
    """The methods to train with, by the names that the user gave them.

    Raises:
      ValueError: If a method or a parameter isn't allowed.
      TypeError: If a parameter has the wrong type.
    """
    if settings.compare and settings.method:
        raise ValueError(
            f"method={settings.method!r} and compare={','.join(settings.compare)!r} "
            "exclude each other."
        )
    texts = settings.compare or (_single_method(settings),)
    if settings.compare and (
        "full" not in texts or len(set(texts)) < max(2, len(texts))
    ):
        raise ValueError(
            f"compare={','.join(texts)!r} must name full, which the others are "
            "compared with, and at least one more, each once."
        )
    common = {"k": settings.k, "scale": settings.scale, "stddev": settings.stddev}
    unused = {name for name, value in common.items() if value is not None}
    parsed = {}
    for text in texts:
        parsed[text] = _parse_method(text, common | {"seed": settings.seed})
        unused -= parsed[text].get_config().keys()
    if unused:
        name = min(unused)
        raise ValueError(
            f"{name}={common[name]!r} doesn't go with {', '.join(texts)}: none of them "
            f"has a parameter {name}."
        )
    return parsed


def _single_method(settings: Settings) -> str:
    if settings.schedule_name != "none":
        return settings.method or "max"
    if (settings.method or "full") != "full":
        raise ValueError(
            f"schedule='none' approximates nothing, so method={settings.method!r} must "
            "be full."
        )
    return "full"


def _parse_method(
    text: str, common: dict[str, Any], flag: str = "method"
) -> tfag.GradientMethod:
    """Reads "max" or "max:k=4:scale=0.5"; what it leaves out comes from `common`."""
    name, *assignments = text.split(":")
    if name not in _METHODS:
        raise ValueError(
            f"{flag}={text!r} must be one of {', '.join(_METHODS)}, with parameters as "
            "in max:k=4."
        )
    known = [field.name for field in dataclasses.fields(_METHODS[name])]
    values = {key: common.get(key) for key in known if common.get(key) is not None}
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        if key not in known or not value:
            raise ValueError(
                f"{flag}={text!r} has {assignment!r} where it must set one of its "
                f"parameters ({', '.join(known) or 'it has none'}), as in max:k=4."
            )
        values[key] = value
    return _METHODS[name](**{key: _number(value) for key, value in values.items()})


def _number(value: Any) -> Any:
    """The number, True or False that a text holds, or the value as it is."""
    if value in ("True", "False"):
        return value == "True"
    for convert in (int, float) if isinstance(value, str) else ():
        try:
            return convert(value)
        except ValueError:
            continue
    return value


def make_schedule(
    settings: Settings, method: tfag.GradientMethod
) -> tfag.Schedule | None:
    """The schedule for one method, or `None` where nothing is approximated.

    Raises:
      ValueError: If a parameter isn't allowed or doesn't go with the schedule.
    """
    name = settings.schedule_name
    schedule, accepted = _SCHEDULES.get(name, (None, ()))
    parameters: dict[str, Any] = {}
    for parameter in ("n", "start", "layers", "steps"):
        value = getattr(settings, f"schedule_{parameter}")
        if value is None:
            continue
        if parameter not in accepted:
            takes = " and ".join(f"schedule_{p}" for p in accepted) or "no parameter"
            raise ValueError(
                f"schedule_{parameter}={value!r} doesn't go with schedule={name!r}, "
                f"which takes {takes}."
            )
        parameters[parameter] = value
    if schedule is None or isinstance(method, tfag.FullGradient):
        return None
    if "layers" in parameters:
        layers = _layers(parameters["layers"])
        single = schedule is tfag.Alternate and len(layers) == 1
        parameters["layers"] = layers[0] if single else layers
    return schedule(method, **parameters)


def _layers(text: str) -> list[Any]:
    """The layers that "1,3-5,conv2" names: indices, ranges of them, and names."""
    layers: list[Any] = []
    for item in map(str.strip, text.split(",")):
        first, dash, last = item.partition("-")
        if dash and first.isdecimal() and last.isdecimal():
            if int(last) < int(first):
                raise ValueError(
                    f"schedule_layers={text!r} has the range {item!r}, which must "
                    "end where it begins or later."
                )
            layers += range(int(first), int(last) + 1)
        else:
            layers.append(_number(item))
    return layers


def make_input_method(settings: Settings) -> tfag.GradientMethod | None:
    """The method of the input gradients, or `None` where they are exact.

    Raises:
      ValueError: If the method or a parameter isn't allowed, or no layer is
        approximated.
      TypeError: If a parameter has the wrong type.
    """
    text = settings.input_gradient
    if text is None:
        return None
    if settings.schedule_name == "none" or settings.method == "full":
        raise ValueError(
            f"input_gradient={text!r} follows the schedule, and schedule="
            f"{settings.schedule_name!r} with method={settings.method!r} approximates "
            "nothing."
        )
    return _parse_method(text, {"seed": settings.seed}, "input_gradient")


def make_model(
    settings: Settings,
    schedule: tfag.Schedule | None,
    image_shape: tuple[int, int, int],
    classes: int,
    steps_per_epoch: int,
) -> keras.Model:
    """Builds and compiles the model, the same initial weights for every schedule.

    Args:
      settings: The network, its optimizer and the method of the input gradients.
      schedule: As from `make_schedule`.
      image_shape: Height, width and channels.
      classes: How many there are.
      steps_per_epoch: By which the learning rate decays.

    Returns:
      The plain Keras model without a schedule, and a converted one otherwise.

    Raises:
      ValueError: If the schedule doesn't fit the model.
    """
    arguments = {
        "input_shape": image_shape,
        "classes": classes,
        "width": settings.width,
        "batch_norm_momentum": settings.batch_norm_momentum,
        "seed": settings.seed,
    }
    if settings.model.startswith("resnet"):
        depth = int(settings.model.removeprefix("resnet"))
        model = tfag.models.resnet(depth, **arguments)
    else:
        model = getattr(tfag.models, settings.model)(**arguments)
    if schedule is not None:
        model = tfag.approximate_gradients(
            model, schedule, input_gradient=make_input_method(settings)
        )
    learning_rate = keras.optimizers.schedules.ExponentialDecay(
        settings.learning_rate,
        max(1, round(settings.decay_epochs * steps_per_epoch)),
        settings.decay_rate,
    )
    model.compile(
        keras.optimizers.Adam(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    return model


def convolutions(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that a schedule counts, in its order."""
    rows = tfag.conversion_report(model).rows
    return [model.get_layer(row.name) for row in rows if row.index is not None]
