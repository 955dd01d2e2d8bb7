"""A plan as JSON and CSV, and what becomes of files that aren't whole."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import keras
import pytest
from plans import FILTERS, METHODS, NAMES, ROWS, plan_by_hand

import tf_approxgrad as tfag

# --- JSON ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"speed_up": 1 / 3, "tau": 2**-52, "noise_batch": 0.0},
        {"counts_by_layer": False, "alternatives": (), "curve": ((0.0, 1.0),)},
        {"model_name": 'ein "Modell"\n[bold]', "verdict": "Ünsinn, 模型."},
    ],
)
def test_json_holds_all_of_a_plan(changes: dict[str, Any]) -> None:
    plan = plan_by_hand(**changes)
    text = plan.to_json()
    found = tfag.Plan.from_json(text)
    assert found == plan
    assert hash(found) == hash(plan)
    assert found.to_json() == text
    assert [layer.filters for layer in found.layers] == list(FILTERS)
    assert [layer.method for layer in found.layers] == list(METHODS)


def test_json_is_read_by_any_reader_and_indented() -> None:
    text = plan_by_hand().to_json()
    config = json.loads(text, parse_constant=pytest.fail)["config"]
    assert config["batch_size"] == 64
    assert len(text.splitlines()) > 20


def test_json_of_methods_of_every_kind_is_read() -> None:
    plan = plan_by_hand()
    methods = [
        tfag.MaxGradient(k=0.25, scale="batch"),
        tfag.WinogradGradient(),
        tfag.RowSampledGradient(0.125, seed=-(2**63)),
    ]
    layers = tuple(
        type(layer)(**{**vars(layer), "method": method})
        for layer, method in zip(plan.layers, methods, strict=True)
    )
    plan = plan_by_hand(layers=layers)
    assert tfag.Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("as_path", [str, Path])
def test_json_goes_to_a_file_and_back(tmp_path: Path, as_path: Any) -> None:
    path = as_path(tmp_path / "plan.json")
    plan = plan_by_hand()
    assert plan.to_json(path) == Path(path).read_text(encoding="utf-8")
    assert tfag.Plan.from_json(path) == plan
    other = plan_by_hand(tau=0.5)
    other.to_json(path)
    assert tfag.Plan.from_json(path) == other
    assert os.listdir(tmp_path) == ["plan.json"]


def test_keras_reads_a_plan_by_its_config() -> None:
    plan = plan_by_hand()
    config = keras.saving.serialize_keras_object(plan)
    assert config["registered_name"] == "tf_approxgrad>Plan"
    assert keras.saving.deserialize_keras_object(config) == plan
    assert tfag.Plan.from_config(plan.get_config()) == plan


def interrupt_a_write(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type
) -> None:
    """Interrupts the write of another plan than that of the file."""

    def half(self: Path, text: str, **arguments: Any) -> None:
        with open(self, "w", **arguments) as file:
            file.write(text[: len(text) // 2])
        raise error

    def fail(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        if name == "write_text":
            patched.setattr(Path, "write_text", half)
        else:
            patched.setattr(os, "replace", fail)
        with pytest.raises(error):
            plan_by_hand(tau=0.5).to_json(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("name", ["write_text", "replace"])
def test_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type
) -> None:
    path = tmp_path / "plan.json"
    old = plan_by_hand()
    old.to_json(path)
    interrupt_a_write(path, monkeypatch, name, error)
    assert tfag.Plan.from_json(path) == old


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("name", ["write_text", "replace"])
def test_interrupted_write_leaves_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type
) -> None:
    interrupt_a_write(tmp_path / "plan.json", monkeypatch, name, error)
    assert os.listdir(tmp_path) == []


def test_file_in_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        plan_by_hand().to_json(tmp_path / "missing" / "plan.json")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_file_that_is_cut_off_is_refused(tmp_path: Path, part: float) -> None:
    text = plan_by_hand().to_json()
    path = tmp_path / "plan.json"
    path.write_text(text[: int(part * len(text))], encoding="utf-8")
    with pytest.raises(ValueError, match=r"plan.json isn't the JSON of a plan, or is"):
        tfag.Plan.from_json(path)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_text_that_is_cut_off_is_refused(part: float) -> None:
    text = plan_by_hand().to_json()
    with pytest.raises(ValueError, match=r"the text isn't the JSON of a plan, or is"):
        tfag.Plan.from_json(text[: int(part * len(text))])


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("layers"),
        lambda config: config.update(unknown=3),
        lambda config: config.update(layers=3),
        lambda config: config["layers"][0]["config"].pop("method"),
        lambda config: config["layers"][0]["config"].update(method="most"),
    ],
)
def test_json_with_other_fields_is_refused(change: Any) -> None:
    content = json.loads(plan_by_hand().to_json())
    layers = content["config"]["layers"]
    if isinstance(layers, dict):
        content["config"]["layers"] = layers["config"]["value"]
    change(content["config"])
    with pytest.raises(ValueError, match=r"the text isn't the JSON of a plan, or is"):
        tfag.Plan.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (tfag.Constant("max"), "Constant"),
        (tfag.MaxGradient(), "MaxGradient"),
        (plan_by_hand().layers[0], "LayerPlan"),
        ({}, "dict"),
    ],
)
def test_json_of_another_object_is_refused(value: Any, kind: str) -> None:
    text = json.dumps(keras.saving.serialize_keras_object(value))
    with pytest.raises(ValueError, match=f"the text holds a {kind}, not a plan"):
        tfag.Plan.from_json(text)


@pytest.mark.parametrize("text", ["3", "null", "[1, 2]", '"plan"'])
def test_file_of_other_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"plan\.json .*plan"):
        tfag.Plan.from_json(path)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(ValueError):
        tfag.Plan.from_json(path)


@pytest.mark.parametrize("as_path", [str, Path])
def test_missing_file_is_refused(tmp_path: Path, as_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"plan\.json"):
        tfag.Plan.from_json(as_path(tmp_path / "plan.json"))


# --- CSV -----------------------------------------------------------------------------


def test_csv_has_a_line_for_each_layer_at_full_precision(tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    path.write_text("old")
    plan = plan_by_hand()
    plan.to_csv(path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["index"] for row in rows] == ["1", "2", "3"]
    assert [row["name"] for row in rows] == list(NAMES)
    assert rows[1]["filters"] == "3x3x3x4"
    assert rows[1]["method"] == ROWS.label
    for row, layer in zip(rows, plan.layers, strict=True):
        for name in ("full_ms", "exact_ms", "ms", "tau"):
            assert float(row[name]) == getattr(layer, name)
        assert (row["kernel"], row["reason"]) == (layer.kernel, layer.reason)
