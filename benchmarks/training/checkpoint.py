"""Checkpoints at the end of an epoch, from which an interrupted run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras

_STATE_FILE = "state.json"


class Checkpoint:
    """Keeps weights and optimizer state of some models, and what is known of the run.

    The state file names the weight files that belong to it and is replaced in one step,
    so that an interruption at any moment leaves the last complete checkpoint. Files of
    the folder that no checkpoint named stay untouched.

    Args:
        folder: Where to keep it; `None` keeps nothing.
        settings: What must be the same for a run to go on, as JSON can hold it.
    """

    def __init__(self, folder: Path | None, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._settings = settings

    def restore(self, models: dict[str, keras.Model]) -> dict[str, Any] | None:
        """Loads the last checkpoint into compiled `models`.

        Args:
            models: By name, the same names as were saved.

        Returns:
            What was passed to `save` as `state`, or `None` if there is no checkpoint.

        Raises:
            ValueError: If the checkpoint is of a run with other settings, or damaged.
        """
        saved = self._read()
        if saved is None:
            return None
        assert self._folder is not None
        changed = [
            f"{name}: {saved['settings'].get(name)!r} there, {value!r} now"
            for name, value in self._settings.items()
            if saved["settings"].get(name) != value
        ]
        if changed:
            raise ValueError(
                f"checkpoint={str(self._folder)!r} holds a run of other settings ("
                f"{'; '.join(changed)}): name another folder, or repeat the settings."
            )
        for name, model in models.items():
            path = self._folder / saved["weights"][name]
            try:
                model.load_weights(path)
            except (OSError, ValueError, KeyError) as error:
                raise ValueError(
                    f"checkpoint={str(self._folder)!r} is damaged: {path.name} can't "
                    f"be read ({error})."
                ) from error
        return saved["state"]

    def save(
        self, models: dict[str, keras.Model], epoch: int, state: dict[str, Any]
    ) -> None:
        """Keeps the models after `epoch` epochs, in place of the last checkpoint."""
        if self._folder is None:
            return
        last = self._read()
        self._folder.mkdir(parents=True, exist_ok=True)
        # A method's name, such as "max:k=4", makes no portable file name.
        weights = {
            name: f"model{number}-epoch{epoch}.weights.h5"
            for number, name in enumerate(models)
        }
        for name, model in models.items():
            model.save_weights(self._folder / weights[name])
        content = {"settings": self._settings, "weights": weights, "state": state}
        unfinished = self._folder / f"{_STATE_FILE}.unfinished"
        unfinished.write_text(json.dumps(content, indent=1))
        unfinished.replace(self._folder / _STATE_FILE)
        for name in (last or {"weights": {}})["weights"].values():
            if name not in weights.values():
                (self._folder / name).unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        if self._folder is None or not (self._folder / _STATE_FILE).exists():
            return None
        try:
            content = json.loads((self._folder / _STATE_FILE).read_text())
            return {key: content[key] for key in ("settings", "weights", "state")}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"checkpoint={str(self._folder)!r} is damaged: {_STATE_FILE} isn't "
                f"one that this program wrote ({error})."
            ) from error
