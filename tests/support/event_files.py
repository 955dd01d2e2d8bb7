"""Reads what tf.summary has written, without TensorBoard."""

from pathlib import Path
from typing import Any

import tensorflow as tf


def read_events(folder: Path) -> dict[str, dict[int, Any]]:
    """The values of each tag by step: floats of scalars, texts of texts."""
    values: dict[str, dict[int, Any]] = {}
    paths = sorted(str(path) for path in Path(folder).glob("events.out.tfevents.*"))
    for record in tf.data.TFRecordDataset(paths):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            plugin = value.metadata.plugin_data.plugin_name
            content = tf.make_ndarray(value.tensor).item()
            assert plugin == ("text" if isinstance(content, bytes) else "scalars")
            if isinstance(content, bytes):
                content = content.decode()
            values.setdefault(value.tag, {})[event.step] = content
    return values
