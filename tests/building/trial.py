"""Trains a little with the installed package; prints a line of JSON about it.

    python trial.py

noxfile.py runs it in fresh environments. It fails where a compiler or the checkout is
in reach, or where training doesn't make the loss smaller.
"""

import importlib.metadata
import json
import platform
import shutil
import time
from pathlib import Path

start = time.perf_counter()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import tf_approxgrad as tfag  # noqa: E402


def make_model() -> keras.Model:
    model = tfag.models.cnn2(input_shape=(16, 16, 1), classes=2, width=0.25)
    return tfag.approximate_gradients(model, tfag.EveryNthLayer("row-sampled"))


def main() -> None:
    for name in ("c++", "g++", "clang++", "cc", "gcc", "nvcc"):
        assert shutil.which(name) is None, f"{name} is on the path"
    assert "site-packages" in Path(tfag.__file__).parts, tfag.__file__

    keras.utils.set_random_seed(0)
    y = np.arange(256) % 2
    x = np.random.normal(size=(256, 16, 16, 1)) + y[:, None, None, None]
    model = make_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    ends = []
    timer = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter() - start)
    )
    callbacks = [tfag.ApproximationCallback(), timer]
    done = model.fit(x, y, epochs=4, verbose=0, callbacks=callbacks)
    first, *_, last = done.history["loss"]
    assert last < 0.8 * first, (first, last)
    tfag.show_versions()
    names = importlib.metadata.packages_distributions()["tensorflow"]
    (name,) = {name.replace("_", "-") for name in names}
    found = {
        "python": platform.python_version(),
        "distribution": name,
        "tensorflow": tf.version.VERSION,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "first_step_s": round(ends[0], 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
