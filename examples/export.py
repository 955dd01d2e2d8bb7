"""Exports a converted model, for serving and for training on.

    python examples/export.py --output=exported

writes three forms of one small network that was trained for some steps:

* `serving/`, by model.export, and `model.tflite`: TensorFlow's own ops alone. Any
  process serves them, whether it has tf_approxgrad or not.
* `training/`, a SavedModel with a signature that trains. The approximation is in it:
  `import tf_approxgrad` comes before tf.saved_model.load there.

The program loads each again and compares its outputs with the model's.
"""

import argparse
from pathlib import Path

import fashion_mnist
import keras
import numpy as np
import tensorflow as tf

import tf_approxgrad as tfag


class Trainable(tf.Module):
    """A converted model with its optimizer, and one step of training for both."""

    def __init__(self, model, optimizer, image_shape):
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer.build(model.trainable_variables)
        tfag.bind_step(model, optimizer.iterations)
        images = tf.TensorSpec([None, *image_shape], tf.float32)
        labels = tf.TensorSpec([None], tf.int64)
        self.train = tf.function(self._train, input_signature=[images, labels])
        self.serve = tf.function(self._serve, input_signature=[images])

    def _train(self, images, labels):
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(images, training=True))
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        self.optimizer.apply(gradients, variables)
        return {"loss": loss}

    def _serve(self, images):
        return {"logits": self.model(images)}


def run_tflite(path, images):
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def main(output="exported", steps=20, batch=64, width=0.25):
    """Trains, exports, loads again; returns each form's largest difference."""
    keras.utils.set_random_seed(0)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    (x, y), _ = fashion_mnist.load_data()
    images, labels = x[..., None].astype(np.float32) / 255, y.astype(np.int64)
    shape = images.shape[1:]
    method = tfag.RowSampledGradient(
        share=0.5, probability="product", keep_largest=True
    )
    model = tfag.models.cnn2(shape, width=width)
    model = tfag.approximate_gradients(model, tfag.Alternate(method))
    trainable = Trainable(model, keras.optimizers.Adam(), shape)
    for step in range(steps):
        chosen = slice(step * batch, (step + 1) * batch)
        trainable.train(images[chosen], labels[chosen])

    model.export(str(folder / "serving"), verbose=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / "model.tflite").write_bytes(converter.convert())
    signatures = {"train": trainable.train, "serve": trainable.serve}
    tf.saved_model.save(trainable, str(folder / "training"), signatures)

    # Whoever lets go of a loaded module lets go of its variables.
    serving, training = (
        tf.saved_model.load(str(folder / form)) for form in ("serving", "training")
    )
    outputs = {
        "serving": serving.serve(images[:batch]),
        "model.tflite": run_tflite(folder / "model.tflite", images[:1]),
        "training": training.serve(images[:batch])["logits"],
    }
    expected = model(images[:batch]).numpy()
    differences = {}
    for form, found in outputs.items():
        differences[form] = float(np.max(np.abs(found - expected[: len(found)])))
        print(f"{folder / form}: outputs differ by at most {differences[form]:.1e}")
    return differences


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default="exported", help="the folder to write to")
    parser.add_argument("--steps", type=int, default=20, help="of training")
    main(**vars(parser.parse_args()))
