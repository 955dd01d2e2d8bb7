"""README.md and CONTRIBUTING.md: their text, code, commands and tables."""

import re
import shlex
from pathlib import Path

# Not resolved: under Bazel the files of the checkout are links in the test's folder.
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PAGES = {"README.md": README, "CONTRIBUTING.md": CONTRIBUTING}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return [code for name, code in FENCE.findall(text) if name == language]


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def commands(text: str) -> list[list[str]]:
    """The words of each shell command in a page's blocks and in its `code`."""
    joined = "".join(blocks(text, "")).replace("\\\n", " ")
    programs = ("make", "pip", ".venv/bin/python", "python", "bazel")
    lines = [*joined.splitlines(), *code_spans(text)]
    found = []
    for line in lines:
        for part in line.split("&&"):
            words = shlex.split(part)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                del words[0]
            if words and words[0] in programs:
                found.append(words)
    return found


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str, heading: str) -> dict[str, str]:
    """The first table below a heading: the code in each row's first cell, the row."""
    lines = section(text, heading).splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    return {re.match(r"\| `(.+?)` \|", row)[1]: row for row in rows}
