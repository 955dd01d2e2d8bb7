"""What README.md shows in Python and in its tables is so.

The code runs as it stands, in a slow test, and once more with a small network in
ResNet50's place, which is the one thing that these tests replace.
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pages import README, blocks, table

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import reason_not_convertible

RESNET50 = "keras.applications.ResNet50(weights=None, "


def small_network(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    # Six convolutions: EveryNthLayer(n=4, start=2) approximates two of them.
    convolutions = [
        keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")
        for _ in range(6)
    ]
    head = [keras.layers.Flatten(), keras.layers.Dense(classes, "softmax")]
    return keras.Sequential([keras.Input(input_shape), *convolutions, *head])


@pytest.mark.parametrize(
    "replacement",
    [
        pytest.param("small_network(", id="small network"),
        pytest.param(RESNET50, id="as it stands", marks=pytest.mark.slow),
    ],
)
def test_the_first_example_converts_trains_and_strips(
    replacement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, *_ = blocks(README, "python")
    assert RESNET50 in code
    fitted = []
    fit = keras.Model.fit

    def remember(model: keras.Model, *args: Any, **options: Any) -> Any:
        result = fit(model, *args, **options)
        fitted.append((tfag.conversion_report(model), model(x[:2]).numpy()))
        return result

    monkeypatch.setattr(keras.Model, "fit", remember)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4, 64, 64, 3)).astype(np.float32)
    namespace = {"x": x, "y": np.arange(4), "small_network": small_network}
    exec(code.replace(RESNET50, replacement), namespace)
    ((report, outputs),) = fitted
    assert any(row.index is not None for row in report.rows)
    model = namespace["model"]
    assert not any(isinstance(x, tfag.ApproxConv2D) for x in model.layers)
    assert any(isinstance(x, keras.layers.Conv2D) for x in model.layers)
    np.testing.assert_allclose(model(x[:2]), outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", table(README, "What is converted"))
def test_the_table_of_layers_says_what_is_converted(name: str) -> None:
    row = table(README, "What is converted")[name]
    kind = getattr(keras.layers, name)
    layer = kind(3) if name == "DepthwiseConv2D" else kind(4, 3)
    assert (reason_not_convertible(layer) is not None) == ("| no" in row)


def test_the_first_example_is_eight_lines_of_code() -> None:
    code, *_ = blocks(README, "python")
    lines = [line for line in code.splitlines() if line and "import" not in line]
    assert 0 < len(lines) <= 8


@pytest.mark.parametrize(
    "wrap", [tf.function, lambda loop: loop], ids=["graph", "eager"]
)
def test_bind_step_example_makes_a_loop_of_your_own_train(wrap: Any) -> None:
    (code,) = (code for code in blocks(README, "python") if "bind_step" in code)
    # Alternate depends on the step, so that the model refuses to train without it.
    model = tfag.approximate_gradients(
        small_network((8, 8, 3), 10), tfag.Alternate(tfag.ZeroGradient())
    )
    x, y = tf.random.normal([4, 8, 8, 3]), tf.range(4)
    kernels = [layer.kernel for layer in model.layers if "conv" in layer.name]

    @wrap
    def kernel_gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            loss = keras.losses.sparse_categorical_crossentropy(y, outputs)
        return tape.gradient(loss, [kernel.value for kernel in kernels])

    with pytest.raises(RuntimeError, match="bind_step"):
        kernel_gradients()
    namespace = {"keras": keras, "tfag": tfag, "model": model}
    exec(code, namespace)
    exact = []
    for step in (0, 1):
        namespace["optimizer"].iterations.assign(step)
        exact.append([bool(np.any(gradient)) for gradient in kernel_gradients()])
    assert exact == [[True] * len(kernels), [True, False] * (len(kernels) // 2)]


def test_the_example_of_input_gradients_converts() -> None:
    (code,) = (code for code in blocks(README, "python") if "input_gradient=" in code)
    namespace = {"tfag": tfag, "schedule": tfag.Constant("max")}
    namespace["model"] = small_network((8, 8, 3), 10)
    exec(code, namespace)
    layers = namespace["model"].layers[:6]
    methods = [layer.input_gradient for layer in layers]
    assert methods == [tfag.SampledGradient()] * 6


def test_the_example_of_fidelity_writes_a_table_and_a_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (code,) = (code for code in blocks(README, "python") if "tfag.fidelity" in code)
    model = small_network((8, 8, 3), 10)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.ones((4, 8, 8, 3), np.float32), np.arange(4)
    monkeypatch.chdir(tmp_path)
    exec(code, {"tfag": tfag, "model": model, "x": x, "y": y})
    assert "max(k=4, scale=1.0)" in capsys.readouterr().out
    assert len((tmp_path / "fidelity.csv").read_text().splitlines()) == 1 + 6 * 3
    assert (tmp_path / "fidelity.png").stat().st_size > 0


@pytest.mark.parametrize(
    "name", sorted({*re.findall(r"\btfag\.(\w+)", README)} - {"models"})
)
def test_every_name_that_the_readme_uses_is_exported(name: str) -> None:
    assert name in tfag.__all__


METHODS = table(README, "Methods")
SCHEDULES = table(README, "Schedules")


def exported(base: type) -> set[str]:
    values = {name: getattr(tfag, name) for name in tfag.__all__}
    return {
        name
        for name, value in values.items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    }


def call(text: str) -> ast.Call:
    return ast.parse(text, mode="eval").body


@pytest.mark.parametrize(
    ("rows", "base"),
    [(METHODS, tfag.GradientMethod), (SCHEDULES, tfag.Schedule)],
    ids=["methods", "schedules"],
)
def test_table_lists_what_is_exported_each_once(
    rows: dict[str, str], base: type
) -> None:
    names = [call(text).func.id for text in rows]
    assert sorted(names) == sorted(exported(base))


@pytest.mark.parametrize("text", [*METHODS, *SCHEDULES])
def test_table_shows_the_true_arguments_and_defaults(text: str) -> None:
    shown = call(text)
    parameters = inspect.signature(getattr(tfag, shown.func.id)).parameters.values()
    required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    assert len(shown.args) == len(required)
    named = [
        (arg.id, name)
        for arg, name in zip(shown.args, required, strict=True)
        if isinstance(arg, ast.Name)
    ]
    assert all(written == name for written, name in named), named
    defaults = {p.name: p.default for p in parameters if p.name not in required}
    written = {k.arg: ast.literal_eval(k.value) for k in shown.keywords}
    assert written == defaults
    assert list(written) == list(defaults)


def listed(text: str, word: str) -> set[int] | None:
    """The numbers in "layers 2, 6, 10, ..."; None where every one is meant."""
    match = re.search(rf"\b{word}s (\d[\d, ]+)\.\.\.", text)
    if match is None:
        assert f"every {word}" in text
        return None
    return {int(number) for number in re.findall(r"\d+", match[1])}


@pytest.mark.parametrize(
    "text", [text for text in SCHEDULES if "..." in SCHEDULES[text].split("|")[2]]
)
def test_schedule_approximates_the_layers_and_steps_of_its_row(text: str) -> None:
    description = SCHEDULES[text].split("|")[2]
    schedule = getattr(tfag, call(text).func.id)(tfag.ZeroGradient())
    layers, steps = listed(description, "layer"), listed(description, "step")
    last_layer, last_step = max(layers or {8}), max(steps or {8})
    actual = {
        (layer, step)
        for layer in range(1, last_layer + 1)
        for step in range(last_step + 1)
        if schedule(layer, step) != tfag.FullGradient()
    }
    assert actual == {
        (layer, step)
        for layer in layers or range(1, last_layer + 1)
        for step in steps or range(last_step + 1)
    }
