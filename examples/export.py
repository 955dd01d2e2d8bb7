r"""Exports a converted model, for serving and for training on.

    python examples/export.py --output=exported

writes three forms of one small network that was trained for some steps:

* `serving/`, by model.export, and `model.tflite`: TensorFlow's own ops alone. Any
  process serves them, whether it has tf_approxgrad or not.
* `training/`, a SavedModel with a signature that trains. The approximation is in it:
  `import tf_approxgrad` comes before tf.saved_model.load there.

The program loads each again and compares its outputs with the model's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import datasets
import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tf_approxgrad as tfag

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "exported", "The folder to write to.")
flags.DEFINE_integer("steps", 20, "Training steps before the export.", lower_bound=1)
flags.DEFINE_integer("batch", 64, "Images in a batch.", lower_bound=1)
flags.DEFINE_float("width", 0.25, "Factor on the network's channels.", lower_bound=0.0)


class Trainable(tf.Module):
    """A model with its optimizer, and one step of training for both.

    Args:
      model: A converted model.
      optimizer: A Keras optimizer.
      image_shape: Height, width and channels.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        optimizer.build(model.trainable_variables)
        tfag.bind_step(model, optimizer.iterations)
        images = tf.TensorSpec([None, *image_shape], tf.float32)
        labels = tf.TensorSpec([None], tf.int64)
        self.train = tf.function(self._train, input_signature=[images, labels])
        self.serve = tf.function(self._serve, input_signature=[images])

    def _train(self, images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(
                labels, logits, from_logits=True
            )
            loss = tf.reduce_mean(losses)
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        self.optimizer.apply(gradients, variables)
        return {"loss": loss}

    def _serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": self.model(images)}


def export() -> dict[str, float]:
    """Trains, exports, loads again and compares.

    Returns:
      The largest difference of an output from the model's, for each form.

    Raises:
      OSError, ValueError: If a flag has a value that isn't allowed.
    """
    folder = Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    data = datasets.load_dataset("embedded")
    model = tfag.approximate_gradients(
        tfag.models.cnn2(data.image_shape, width=FLAGS.width), tfag.Alternate("max")
    )
    images = data.train_images.astype(np.float32) / 255
    trainable = Trainable(model, keras.optimizers.Adam(), data.image_shape)
    for step in range(FLAGS.steps):
        chosen = np.arange(step * FLAGS.batch, (step + 1) * FLAGS.batch) % len(images)
        loss = trainable.train(images[chosen], data.train_labels[chosen])["loss"]
    print(f"Loss after {FLAGS.steps} steps: {float(loss):.3f}")

    model.export(str(folder / "serving"), verbose=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / "model.tflite").write_bytes(converter.convert())
    signatures = {"train": trainable.train, "serve": trainable.serve}
    tf.saved_model.save(trainable, str(folder / "training"), signatures)

    batch = images[: FLAGS.batch]
    # Whoever lets go of a loaded module lets go of its variables.
    serving, training = (
        tf.saved_model.load(str(folder / form)) for form in ("serving", "training")
    )
    outputs = {
        "serving": serving.serve(batch),
        "model.tflite": _run_tflite(folder / "model.tflite", batch[:1]),
        "training": training.serve(batch)["logits"],
    }
    expected = model(batch).numpy()
    return {
        form: float(np.max(np.abs(output - expected[: len(output)])))
        for form, output in outputs.items()
    }


def _run_tflite(path: Path, images: np.ndarray) -> np.ndarray:
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    (entry,), (result,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    interpreter.set_tensor(entry["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(result["index"])


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    try:
        differences = export()
    except (OSError, ValueError) as error:
        sys.exit(f"export.py: {error}")
    for form, difference in differences.items():
        print(f"{FLAGS.output}/{form}: outputs differ by at most {difference:.1e}")


if __name__ == "__main__":
    app.run(main)
