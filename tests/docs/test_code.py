"""The Python code of every page runs, from top to bottom, on a small model and data."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from pages import PAGES, blocks

import tf_approxgrad as tfag

# The converter to ONNX takes ten seconds by itself.
SLOW = ("docs/deployment.md",)
CODE = {page: "\n".join(blocks(text, "python")) for page, text in PAGES.items()}
IN_PAGES = [
    pytest.param(page, marks=pytest.mark.slow if page in SLOW else ())
    for page, code in CODE.items()
    if code and page != "README.md"
]


def run(page: str, names: dict[str, Any]) -> ModuleType:
    """Runs a page's code as a module, where classes that it defines are at home."""
    module = ModuleType("page")
    vars(module).update(names)
    exec(compile(CODE[page], page, "exec"), vars(module))
    return module


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "page", ModuleType("page"))


def follows_the_schedule_in_a_loop(module: ModuleType) -> None:
    assert int(module.optimizer.iterations) == 1
    first, second = tfag.conversion_report(module.model).rows
    assert first.note == "full"
    assert second.note.startswith("full, row-sampled(share=0.5")


def writes_a_report_and_summaries(module: ModuleType) -> None:
    del module
    assert len(Path("fidelity.csv").read_text().splitlines()) == 1 + 2 * 3
    assert [*Path("logs").rglob("events.out.*")]


def follows_the_user_s_schedule(module: ModuleType) -> None:
    report = tfag.conversion_report(module.model)
    assert [row.note for row in report.rows] == ["full", "full, sampled(k=4)"]


def measures_the_user_s_method(module: ModuleType) -> None:
    method = module.EveryNthExample(n=4)
    x, dy = (np.ones([8, 4, 4, n], np.float32) for n in (1, 2))
    arguments = ([3, 3, 1, 2], dy, 1, "SAME")
    exact, own = (
        tfag.conv2d_backprop_filter(x, *arguments, method=m) for m in ("full", method)
    )
    np.testing.assert_allclose(own, exact, rtol=1e-6)
    assert (
        "every-nth-example(n=4)"
        in tfag.conversion_report(module.converted).rows[1].note
    )


def plans_and_adapts(module: ModuleType) -> None:
    assert isinstance(module.plan, tfag.Plan)
    rows = tfag.conversion_report(module.model).rows
    assert all(row.note.startswith("exact") for row in rows)
    assert all("row-sampled(share=0.25" in row.note for row in rows)
    assert int(module.model.optimizer.iterations) > 0


CHECKS = {
    "docs/extending.md": measures_the_user_s_method,
    "docs/getting_started.md": follows_the_schedule_in_a_loop,
    "docs/measuring.md": writes_a_report_and_summaries,
    "docs/schedules.md": follows_the_user_s_schedule,
    "docs/worth_it.md": plans_and_adapts,
}


@pytest.mark.parametrize("page", IN_PAGES)
def test_code_of_a_page_runs(page: str, user: dict[str, Any]) -> None:
    module = run(page, user)
    CHECKS.get(page, lambda module: None)(module)


def small_network(input_shape: tuple[int, int, int], **options: Any) -> keras.Model:
    convolutions = [
        keras.layers.Conv2D(4, 3, strides=2, activation="relu") for _ in range(3)
    ]
    head = [keras.layers.Flatten(), keras.layers.Dense(options["classes"], "softmax")]
    return keras.Sequential([keras.Input(input_shape), *convolutions, *head])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(small_network, id="small network"),
        pytest.param(
            keras.applications.ResNet50, id="as it stands", marks=pytest.mark.slow
        ),
    ],
)
def test_the_examples_of_readme_train_converted_models(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    fit = keras.Model.fit

    def remember(model: keras.Model, *args: Any, **options: Any) -> Any:
        result = fit(model, *args, **options)
        trained.append((tfag.conversion_report(model), model(x[:2]).numpy()))
        return result

    monkeypatch.setattr(keras.Model, "fit", remember)
    monkeypatch.setattr(keras.applications, "ResNet50", make)
    x = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype(np.float32)
    module = run("README.md", {})
    (planned, _), (adapting, _), (approximate, outputs) = trained
    for row, layer in zip(planned.rows, module.plan.layers, strict=True):
        assert row.note.startswith(layer.method.label)
    assert all("row-sampled(share=0.25" in row.note for row in adapting.rows)
    assert all(row.note.startswith("row-sampled") for row in approximate.rows)
    assert all("; input gradient: exact (" in row.note for row in approximate.rows)
    tfag.strip_approximation(module.model)
    np.testing.assert_allclose(module.model(x[:2]), outputs, rtol=1e-5, atol=1e-6)
