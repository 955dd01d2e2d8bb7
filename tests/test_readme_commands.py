"""Commands, links, files and versions that README.md and CONTRIBUTING.md name exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import (
    CONTRIBUTING,
    FENCE,
    PAGES,
    README,
    ROOT,
    blocks,
    code_spans,
    commands,
    section,
)

COMMANDS = [words for text in PAGES.values() for words in commands(text)]
MAKE = [words for words in COMMANDS if words[0] == "make"]
PYTHON = [words for words in COMMANDS if words[0] in (".venv/bin/python", "python")]
PIP = [words for words in COMMANDS if words[0] == "pip"]


def test_the_readme_shows_the_commands_that_a_user_needs() -> None:
    shown = [" ".join(words) for words in commands(README)]
    assert {"make demo", "make test", "pip install --no-build-isolation ."} <= {*shown}
    assert any("--model=resnet20 --compare=full,zero,max" in line for line in shown)
    assert any("--data=cifar10" in line for line in shown)


@pytest.mark.parametrize("words", MAKE, ids=" ".join)
def test_make_has_the_target_and_reads_the_variables(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
    for word in words[1:]:
        variable, is_assignment, _ = word.partition("=")
        if is_assignment:
            assert re.search(rf"^{variable} \?=", makefile, re.MULTILINE)
        else:
            assert word in targets


@pytest.mark.parametrize("words", PIP, ids=" ".join)
def test_pip_knows_the_flags(words: list[str]) -> None:
    command = [sys.executable, "-m", "pip", words[1], "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    flags = [word for word in words if word.startswith("-")]
    assert all(re.search(rf"{flag}\b", text) for flag in flags)


@pytest.mark.parametrize("words", PYTHON, ids=" ".join)
def test_the_program_of_a_command_exists(words: list[str]) -> None:
    program = words[1]
    assert program == "-m" or (ROOT / program).is_file()


@pytest.fixture(scope="module")
def flags() -> dict[str, list[str]]:
    """The flags of train.py and, of those that have some, the values allowed."""
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / "train.py", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    pattern = re.compile(r"^  --(?:\[no\])?(\w+): (?:<([^>]+)>)?", re.MULTILINE)
    # absl breaks a long list of values at a bar, and indents what follows.
    text = re.sub(r"\|\s+", "|", result.stdout)
    found = {name: values.split("|") for name, values in pattern.findall(text)}
    assert "epochs" in found, result.stderr
    return found


@pytest.mark.parametrize(
    "words", [words for words in PYTHON if "examples/train.py" in words], ids=" ".join
)
def test_train_py_has_the_flags_of_a_command_and_allows_their_values(
    words: list[str], flags: dict[str, list[str]]
) -> None:
    assert len(words) > 2
    for word in words[2:]:
        name, _, value = re.fullmatch(r"--(\w+)(=(.+))?", word).groups()
        assert name in flags
        assert flags[name] == [""] or value in flags[name]


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("model", ["cnn2", "resnet20", "resnet14", "vgg19"]),
        ("schedule", ["every_nth_layer", "alternate", "every_nth_step", "constant"]),
        ("data", ["cifar10", "fashion_mnist"]),
    ],
)
def test_help_lists_models_and_schedules_as_the_readme_says(
    flag: str, values: list[str], flags: dict[str, list[str]]
) -> None:
    assert "`--help` lists the models, schedules and parameters" in README
    assert {*values} <= {*flags[flag]}


LINKS = [
    (page, link)
    for page, text in PAGES.items()
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text))
    if "://" not in link
]
FOLDERS = ("cc", "examples", "tests", "tf_approxgrad", "third_party")


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_link_points_to_a_file_and_a_heading(page: str, link: str) -> None:
    name, _, anchor = link.partition("#")
    target = (ROOT / page).parent / name if name else ROOT / page
    assert target.is_file()
    headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M) if anchor else []
    assert anchor in ["", *(x.lower().replace(" ", "-") for x in headings)]


@pytest.mark.parametrize(
    ("page", "name"),
    [
        (page, span)
        for page, text in PAGES.items()
        for span in dict.fromkeys(code_spans(text))
        if re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./*-]*", span)
    ],
)
def test_file_or_folder_that_a_page_names_exists(page: str, name: str) -> None:
    assert list(ROOT.glob(name))


def test_every_file_of_the_table_in_contributing_exists() -> None:
    lines = section(CONTRIBUTING, "Find your way").splitlines()
    rows = [line.split("|")[1] for line in lines if "| `" in line[:3]]
    assert len(rows) > 5
    missing = []
    for cell in rows:
        # A bare name lies beside the file before it.
        folder = None
        for name in re.findall(r"`([^`]+)`", cell):
            path = ROOT / name if "/" in name else folder / name
            folder = path.parent
            if not path.exists():
                missing.append(name)
    assert missing == []


def test_the_versions_named_are_those_that_are_checked() -> None:
    setup_py = (ROOT / "setup.py").read_text()
    oldest = re.search(r"^OLDEST_TENSORFLOW = \((\d+), (\d+)\)", setup_py, re.MULTILINE)
    assert f"({oldest[1]}.{oldest[2]} or newer" in README
    makefile = (ROOT / "Makefile").read_text()
    first, last = re.search(r"needs Python ([\d.]+) to ([\d.]+),", makefile).groups()
    assert f"Python {first} to {last}" in README
    assert f'requires-python = ">={first}"' in (ROOT / "pyproject.toml").read_text()
    (tested,) = set(
        re.findall(r"^TENSORFLOW \?= .*>=([\d.]+),", makefile, re.MULTILINE)
    )
    assert f"tested with\n{tested}" in README or f"tested with {tested}" in README


@pytest.mark.slow
def test_the_benchmark_in_contributing_compiles_as_it_stands(tmp_path: Path) -> None:
    (code,) = (code for code in blocks(CONTRIBUTING, "") if "g++" in code)
    compile_it, program = code.strip().rsplit(" && ", 1)
    assert program == "/tmp/bench"
    target = tmp_path / "bench"
    # Without optimisation, which takes a minute and can't make it fail.
    command = compile_it.replace(program, shlex.quote(str(target)))
    command = command.replace("-O3", "-O0")
    result = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert os.access(target, os.X_OK)
