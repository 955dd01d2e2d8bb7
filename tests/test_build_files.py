"""BUILD and setup.py compile the same files in the same way, and leave none out.

BUILD is read without Bazel: what it says is Python as well, so it is run with a
`glob` of Python's and with rules that only remember how they were called.
"""

import ast
import builtins
import runpy
from pathlib import Path
from typing import Any

import pytest
import setuptools

# Not resolved: under Bazel the files of the checkout are links in the test's folder.
ROOT = Path(__file__).parents[1]
LIBRARY = "tf_approxgrad/_op_library.so"

Rule = dict[str, Any]


def files(patterns: list[str]) -> set[str]:
    found = (path for pattern in patterns for path in ROOT.glob(pattern))
    return {path.relative_to(ROOT).as_posix() for path in found if path.is_file()}


def bazel_rules() -> dict[str, Rule]:
    """The arguments of every rule in BUILD by the rule's name."""
    rules = {}

    def rule(**arguments: Any) -> None:
        rules[arguments.get("name")] = arguments

    def load(label: str, *names: str) -> None:
        namespace.update({name: [] for name in names})

    def glob(include: list[str], exclude: list[str] | None = None) -> list[str]:
        return sorted(files(include) - files(exclude or []))

    tree = ast.parse((ROOT / "BUILD").read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {name.id for name in calls if isinstance(name, ast.Name)}
    namespace = dict.fromkeys(called - set(dir(builtins)), rule)
    namespace |= {"load": load, "glob": glob}
    exec(compile(tree, "BUILD", "exec"), namespace)
    return rules


@pytest.fixture(scope="module")
def linked() -> list[Rule]:
    """The rules whose files end in the library that Bazel links."""
    rules = bazel_rules()
    wanted, found = [LIBRARY], {}
    while wanted:
        name = wanted.pop()
        found[name] = rules[name]
        labels = rules[name].get("deps", [])
        wanted += [label[1:] for label in labels if label.startswith(":")]
    return list(found.values())


@pytest.fixture
def setup_py(monkeypatch: pytest.MonkeyPatch) -> Rule:
    """What setup.py defines, and under "arguments" what it calls setup() with."""
    arguments = {}
    monkeypatch.setattr(setuptools, "setup", lambda **given: arguments.update(given))
    return runpy.run_path(str(ROOT / "setup.py")) | {"arguments": arguments}


def compiled(linked: list[Rule]) -> list[str]:
    sources = [source for rule in linked for source in rule["srcs"]]
    return sorted(source for source in sources if source.endswith(".cc"))


def test_bazel_compiles_each_file_that_setup_py_compiles_once(
    linked: list[Rule], setup_py: Rule
) -> None:
    (extension,) = setup_py["arguments"]["ext_modules"]
    assert compiled(linked) == sorted(extension.sources)


def test_no_file_of_ops_and_kernels_is_left_out(linked: list[Rule]) -> None:
    assert compiled(linked) == sorted(files(["cc/ops/**/*.cc", "cc/kernels/**/*.cc"]))


def test_bazel_knows_every_header(linked: list[Rule]) -> None:
    declared = {name for rule in linked for name in rule["srcs"] + rule.get("hdrs", [])}
    assert files(["cc/ops/**/*.h", "cc/kernels/**/*.h"]) <= declared


def test_bazel_compiles_with_the_flags_of_setup_py(
    linked: list[Rule], setup_py: Rule
) -> None:
    # TensorFlow's own flags come after these: bazel_rules leaves them empty.
    for rule in linked:
        assert rule["copts"] == setup_py["COMPILE_FLAGS"], rule["name"]


def test_the_library_has_the_name_that_setup_py_gives_it(setup_py: Rule) -> None:
    (extension,) = setup_py["arguments"]["ext_modules"]
    assert extension.name.replace(".", "/") + ".so" == LIBRARY
    library = bazel_rules()["tf_approxgrad"]
    assert {LIBRARY, LIBRARY.replace(".so", ".json")} <= set(library["data"])
