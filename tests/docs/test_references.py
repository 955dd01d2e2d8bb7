"""Names, signatures, commands, files and links in the pages exist."""

import ast
import inspect
import json
import re

import keras
import pytest
from pages import GUIDES, PAGES, ROOT, code_spans, commands, prose, table

import tf_approxgrad as tfag

TEXT = "\n".join(PAGES.values())
# The changelog names commands that are gone.
COMMANDS = [
    words
    for page, text in PAGES.items()
    for words in commands(text)
    if page != "CHANGELOG.md"
]
MAKE = [words for words in COMMANDS if words[0] == "make"]
PROGRAMS = [words for words in COMMANDS if words[0] == "python"]


@pytest.mark.parametrize(
    "name", sorted({*re.findall(r"\btfag\.(\w+)", TEXT)} - {"models"})
)
def test_name_that_a_page_uses_is_exported(name: str) -> None:
    assert name in tfag.__all__


def test_api_reference_lists_each_exported_name_once() -> None:
    listed = re.findall(r"^::: tf_approxgrad\.(\w+)$", TEXT, re.MULTILINE)
    assert sorted(listed) == sorted({*tfag.__all__} - {"models"})


METHODS = [
    re.search(r"`(.+)`", cell)[1]
    for cell in table(PAGES["docs/methods/index.md"], "method")
]
SCHEDULES = [
    re.search(r"`(.+)`", cell)[1]
    for cell in table(PAGES["docs/schedules.md"], "schedule")
]


def call(text: str) -> ast.Call:
    return ast.parse(text, mode="eval").body


def exported(base: type) -> set[str]:
    values = {name: getattr(tfag, name) for name in tfag.__all__}
    return {
        name
        for name, value in values.items()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value is not base
        # Users don't construct plans.
        and value is not tfag.Plan
    }


@pytest.mark.parametrize(
    ("texts", "base"),
    [(METHODS, tfag.GradientMethod), (SCHEDULES, tfag.Schedule)],
    ids=["methods", "schedules"],
)
def test_table_lists_what_is_exported_each_once(texts: list[str], base: type) -> None:
    assert sorted(call(text).func.id for text in texts) == sorted(exported(base))


@pytest.mark.parametrize("text", [*METHODS, *SCHEDULES])
def test_table_shows_the_true_arguments_and_defaults(text: str) -> None:
    shown = call(text)
    parameters = inspect.signature(getattr(tfag, shown.func.id)).parameters.values()
    required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    assert [argument.id for argument in shown.args] == required
    defaults = {p.name: p.default for p in parameters if p.name not in required}
    written = {k.arg: ast.literal_eval(k.value) for k in shown.keywords}
    assert list(written.items()) == list(defaults.items())


@pytest.mark.parametrize(
    ("name", "is_converted"),
    [
        (name, "| yes" in row or "pointwise" in row)
        for cell, row in table(PAGES["docs/conversion.md"], "layer").items()
        for name in re.findall(r"`(\w+(?:1D|2D|3D|Transpose))`", cell)
    ],
)
def test_table_of_layers_says_what_is_converted(name: str, is_converted: bool) -> None:
    kind = getattr(keras.layers, name)
    layer = kind(3) if name == "DepthwiseConv2D" else kind(4, 3)
    sizes = {"1D": 1, "3D": 3}.get(name[-2:], 2)
    model = keras.Sequential([keras.Input((*[8] * sizes, 3)), layer])
    ((_, index),) = [(x.name, x.index) for x in tfag.conversion_report(model).rows]
    assert (index is not None) == is_converted


@pytest.mark.parametrize("words", MAKE, ids=" ".join)
def test_make_has_the_target(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    targets = re.findall(r"^([\w-]+):|^\.PHONY: (.+)$", makefile, re.MULTILINE)
    known = {word for pair in targets for text in pair for word in text.split()}
    assert {word for word in words[1:] if "=" not in word} <= known


def test_presets_of_cmake_exist() -> None:
    presets = json.loads((ROOT / "CMakePresets.json").read_text())
    named = {words[-1] for words in COMMANDS if words[:2] == ["cmake", "--workflow"]}
    assert named
    assert named <= {preset["name"] for preset in presets["workflowPresets"]}


@pytest.mark.parametrize("words", PROGRAMS, ids=" ".join)
def test_program_has_the_flags_of_a_command(words: list[str]) -> None:
    _, *module, name = words[: 3 if words[1] == "-m" else 2]
    program = ROOT / (f"{name.replace('.', '/')}.py" if module else name)
    # Programs that train share some arguments.
    sources = [program, ROOT / "benchmarks" / "training" / "recipe.py"]
    text = "".join(path.read_text() for path in sources)
    defined = set(re.findall(r'\badd(?:_argument)?\(\s*"--(\w+)"', text))
    flags = {re.match(r"--(\w+)", word)[1] for word in words[2 + len(module) :]}
    assert flags <= defined


@pytest.mark.parametrize(
    ("page", "name"),
    [
        (page, span)
        for page, text in PAGES.items()
        for span in dict.fromkeys(x.split()[0] for x in code_spans(text) if x.strip())
        if re.fullmatch(
            r"(\.ci|benchmarks|cc|docs|examples|tests|tf_approxgrad)/[\w./-]*", span
        )
    ],
)
def test_file_or_folder_that_a_page_names_exists(page: str, name: str) -> None:
    assert (ROOT / name).exists()


# In a checkout. MkDocs checks the links of the site, headings included.
@pytest.mark.parametrize(
    ("page", "link"),
    [
        (page, link)
        for page, text in PAGES.items()
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(text))
        if "://" not in link
    ],
)
def test_link_points_to_a_file_and_a_heading(page: str, link: str) -> None:
    name, _, anchor = link.partition("#")
    target = (ROOT / page).parent / name if name else ROOT / page
    assert target.is_file()
    if page in GUIDES or target.name == "README.md":
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
        assert anchor in ["", *(x.lower().replace(" ", "-") for x in headings)]


def test_versions_named_are_those_that_are_checked() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    first = re.search(r'requires-python = ">=([\d.]+)', project)[1]
    assert f"Python {first} to" in PAGES["README.md"]
