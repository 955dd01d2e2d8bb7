"""The package's folders import one way, and no two files import each other.

Imports for type checkers and inside functions count like all others.
"""

import ast
import graphlib
from pathlib import Path

import pytest

import tf_approxgrad

PACKAGE = Path(tf_approxgrad.__file__).parent
# A folder may import from those before it.
FOLDERS = [
    "utils",
    "methods",
    "schedules",
    "gradients",
    "layers",
    "conversion",
    "measure",
    "planning",
    "training",
]
PRIVATE_NAMES = [
    "tensorflow.python",
    "keras.src",
    "_remat_mode",
    "._compile_config",
    "_functional",
    '"_call_',
]
# The paper's networks are plain Keras models, which know nothing of approximation.
ALONE = "models"


def modules() -> dict[str, Path]:
    """Files by dotted name below the package; a folder's name is its __init__.py."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports, at its top or anywhere else."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} has a relative import"
            names = [(str(node.module), alias.name) for alias in node.names]
        else:
            continue
        for module, name in names:
            package, _, module = module.partition(".")
            if package == "tf_approxgrad":
                submodule = f"{module}.{name}".strip(".")
                found.add(submodule if submodule in known else module)
    return found


MODULES = modules()
IMPORTS = {name: imports(path, MODULES) for name, path in MODULES.items()}


def folder(module: str) -> str:
    return module.partition(".")[0]


# Above all folders: what users import, the command line, and what all of it is.
TOP = {"", "__main__", "versions"}


@pytest.mark.parametrize("module", sorted(set(IMPORTS) - TOP))
def test_a_folder_imports_only_from_those_before_it(module: str) -> None:
    own = folder(module)
    others = {folder(name) for name in IMPORTS[module]} - {own, "_compat"}
    if own in ("_compat", ALONE):
        assert others <= {"utils"}
    else:
        assert others <= set(FOLDERS[: FOLDERS.index(own)])


def test_no_circle_of_files() -> None:
    graphlib.TopologicalSorter(IMPORTS).prepare()


def test_a_backward_import_and_a_circle_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f():\n    from tf_approxgrad.layers import b\n")
    (tmp_path / "b.py").write_text("import tf_approxgrad.utils.a\n")
    known = {"utils.a": tmp_path / "a.py", "layers.b": tmp_path / "b.py"}
    found = {name: imports(path, known) for name, path in known.items()}
    assert found == {"utils.a": {"layers.b"}, "layers.b": {"utils.a"}}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(found).prepare()


def test_private_names_of_tensorflow_and_keras_are_in_compat_alone() -> None:
    for name, path in MODULES.items():
        if name == "_compat":
            continue
        text = path.read_text()
        for private in PRIVATE_NAMES:
            assert private not in text, f"{name} has {private}"
