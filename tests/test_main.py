"""The command line."""

from pathlib import Path

import keras
import numpy as np
import pytest

import tf_approxgrad as tfag
from tf_approxgrad.__main__ import main


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    paths = tmp_path / "model.keras", tmp_path / "data.npz"
    model.save(paths[0])
    np.savez(paths[1], x=np.ones([32, 8, 8, 1]), y=np.ones([32, 2]))
    return str(paths[0]), str(paths[1])


def test_plan_prints_the_report_and_writes_files(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = [tmp_path / name for name in ("plan.json", "plan.csv", "plan.png")]
    options = [f"--{path.suffix[1:]}={path}" for path in written[:2]]
    main(["plan", *files, "--batch-size=8", *options, f"--plot={written[2]}"])
    plan = tfag.Plan.from_json(written[0])
    assert plan.batch_size == 8
    assert plan.verdict.split()[0] in capsys.readouterr().out
    assert all(path.stat().st_size for path in written)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones([32, 8, 8, 1])}, "must hold arrays named x and y"),
        ({"x": np.ones([9, 8, 8, 1]), "y": np.ones([9, 2])}, "needs at least 2"),
        ({"x": np.ones([32, 8, 8, 1]), "y": np.ones([31, 2])}, "equally many"),
    ],
)
def test_bad_data_are_refused_in_a_sentence(
    files: tuple[str, str],
    change: dict[str, np.ndarray],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(files[1], **change)
    with pytest.raises(SystemExit) as stopped:
        main(["plan", *files, "--batch-size=8"])
    assert stopped.value.code == 1
    assert message in capsys.readouterr().err


def test_a_missing_file_is_named(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["plan", files[0], "nowhere.npz"])
    assert "nowhere.npz" in capsys.readouterr().err
