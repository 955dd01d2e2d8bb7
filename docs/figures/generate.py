r"""Writes the generated parts of README.md and of the pages in docs/.

    python docs/figures/generate.py           # writes
    python docs/figures/generate.py --check   # fails if a page is stale

A page names a table of the modules beside this one, with its arguments:

    <!-- table: frontier resnet20 -->
    ...
    <!-- end of table -->

MkDocs calls this file as a hook: a build of stale pages fails, and benchmarks/results/
gets a place in the site, its README.md and pictures.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

# Under pytest and MkDocs other folders come first. The checkout's holds benchmarks.
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import picture
from exact import EXACT_TABLES
from frontier import FRONTIER_TABLES
from gains import GAIN_TABLES
from kernels import KERNEL_TABLES
from plan_tables import PLAN_TABLES
from predictions import PREDICTION_TABLES
from smaller_batch import SMALLER_BATCH_TABLES
from tables import RESULTS
from time_to_loss import TIME_TO_LOSS_TABLES
from wheel import WHEEL_TABLES

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "smaller_batch.svg"
_PART = re.compile(
    r"(<!-- table: (?P<call>[^\n]+?) -->\n).*?(<!-- end of table -->)", re.DOTALL
)


def render(text: str) -> str:
    """A page's text with its tables made anew.

    Raises:
        ValueError: If a marker names no table, or has no end.
    """
    if text.count("<!-- table: ") != len(_PART.findall(text)):
        raise ValueError("a table's marker has no <!-- end of table -->.")
    known = {
        **EXACT_TABLES,
        **FRONTIER_TABLES,
        **GAIN_TABLES,
        **KERNEL_TABLES,
        **PLAN_TABLES,
        **PREDICTION_TABLES,
        **SMALLER_BATCH_TABLES,
        **TIME_TO_LOSS_TABLES,
        **WHEEL_TABLES,
    }

    def fill(match: re.Match[str]) -> str:
        name, *arguments = match["call"].split()
        if name not in known:
            raise ValueError(f"table {name!r} must be one of {', '.join(known)}.")
        return f"{match[1]}{known[name](*arguments)}\n{match[3]}"

    return _PART.sub(fill, text)


def generated() -> dict[Path, str]:
    """What each page with tables, and the picture, must hold."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    parts = {page: render(text) for page, text in texts.items() if "<!-- ta" in text}
    return parts | {PICTURE: picture.smaller_batch()}


def stale() -> list[Path]:
    """The files that hold something else than what is generated."""
    return [
        path
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def on_pre_build(config: Any) -> None:
    """MkDocs: refuses stale pages."""
    del config
    if paths := stale():
        from mkdocs.exceptions import PluginError

        raise PluginError(_message(paths))


def on_files(files: Any, config: Any) -> Any:
    """MkDocs: adds the pictures that the benchmarks drew, and what they say of them."""
    from mkdocs.structure.files import File

    for path in (RESULTS / "README.md", *sorted(RESULTS.rglob("*.png"))):
        uri = f"results/{path.relative_to(RESULTS)}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **arguments: Any) -> str:
    """MkDocs: turns links that hold in the checkout into the site's."""
    del arguments
    return markdown.replace("../benchmarks/results/", "results/")


def _message(paths: list[Path]) -> str:
    names = ", ".join(str(path.relative_to(ROOT)) for path in paths)
    return f"stale: {names}; run python docs/figures/generate.py"


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["--check"]):
        sys.exit("usage: python docs/figures/generate.py [--check]")
    paths = stale()
    if arguments and paths:
        sys.exit(_message(paths))
    parts = generated()
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(parts[path], encoding="utf-8")
        print(f"Written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
