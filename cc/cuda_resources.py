#!/usr/bin/env python3
"""Compiles the CUDA kernels for every GPU and watches what each of them takes.

    cc/cuda_resources.py check    compares with cc/kernels/cuda_resources.txt: status 1
                                  where a kernel spills registers that it didn't, takes
                                  many more, or is missing from the list
    cc/cuda_resources.py write    writes that file

A warning is an error. Without nvcc, which cc/find_cuda.sh looks for, it says so and is
content. The file has a line for each kernel, and a column for each GPU with its
registers; behind them, where there are any, the bytes that it spills (s) and of its
stack (f).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LISTED = ROOT / "cc" / "kernels" / "cuda_resources.txt"
ARCHS = ["75", "80", "86", "89", "90", "100", "120"]
# setup.py has the same.
FLAGS = ["-std=c++17", "-O3", "-fmad=false", "-Werror=all-warnings", "-I."]
FLAGS += ["-Xcompiler=-Wall,-Wextra,-Werror", "-Xptxas=-v"]
# What may come and go with a change elsewhere in a kernel.
FEW_REGISTERS = 4


class Use(NamedTuple):
    """What one kernel takes on one GPU: registers of a thread, bytes."""

    registers: int
    spilled: int = 0
    stack: int = 0

    def __str__(self) -> str:
        spilled = f"+{self.spilled}s" if self.spilled else ""
        return f"{self.registers}{spilled}" + (f"+{self.stack}f" if self.stack else "")


# By kernel, then by GPU as in "90".
Uses = dict[str, dict[str, Use]]


def parse_ptxas(text: str) -> Uses:
    """The kernels in what ptxas says with -v, by their mangled names."""
    uses: Uses = {}
    entry, spilled, stack = None, 0, 0
    for line in text.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)' for 'sm_(\w+)'", line):
            entry = (found[1], found[2])
        elif found := re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes", line
        ):
            stack, spilled = int(found[1]), int(found[2]) + int(found[3])
        elif entry and (found := re.search(r"Used (\d+) registers", line)):
            name, arch = entry
            uses.setdefault(name, {})[arch] = Use(int(found[1]), spilled, stack)
            entry = None
    return uses


def short_names(mangled: list[str]) -> list[str]:
    """Names as in the sources, without namespaces, return types and parameters."""
    names = subprocess.run(
        ["c++filt"],
        input="\n".join(mangled),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    short = []
    for name in names:
        name = name.replace("(anonymous namespace)::", "").replace(
            "tf_approxgrad::", ""
        )
        # An enumerator is "(CudaInput)1".
        name = re.sub(r"\((\w+)\)(\d+)", r"\1 \2", name)
        name = re.sub(r"^void ", "", name)
        short.append(name.split("(", 1)[0])
    return short


def by_short_names(uses: Uses) -> Uses:
    """Joins what is one kernel: mangled names differ from one GPU to another."""
    joined: Uses = {}
    for name, archs in zip(short_names(list(uses)), uses.values(), strict=True):
        kernel = joined.setdefault(name, {})
        if clash := kernel.keys() & archs.keys():
            sys.exit(f"two kernels are called {name} on sm_{min(clash)}")
        kernel.update(archs)
    return joined


def to_text(uses: Uses, nvcc: str) -> str:
    archs = sorted({arch for use in uses.values() for arch in use}, key=int)
    rows = [["# kernel", *(f"sm_{arch}" for arch in archs)]]
    for name in sorted(uses):
        rows.append([name, *(str(uses[name].get(arch, "-")) for arch in archs)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([f"# By {nvcc}; `make gpu-resources` writes this.", *lines, ""])


def from_text(text: str) -> tuple[Uses, str]:
    """The kernels of a list, and the nvcc that it was made with."""
    first, header, *lines = text.splitlines()
    archs = re.findall(r"sm_(\w+)", header)
    uses: Uses = {}
    for line in lines:
        name, *cells = re.split(r" {2,}", line)
        for arch, cell in zip(archs, cells, strict=True):
            if cell != "-":
                found = re.fullmatch(r"(\d+)(?:\+(\d+)s)?(?:\+(\d+)f)?", cell)
                if found is None:
                    raise ValueError(f"{cell!r} isn't what a kernel takes: {line}")
                use = Use(*(int(number or 0) for number in found.groups()))
                uses.setdefault(name, {})[arch] = use
    return uses, first.removeprefix("# By ").split(";")[0]


def problems(listed: Uses, found: Uses, *, same_nvcc: bool) -> list[str]:
    """What is worse than the list; another nvcc may use other registers."""
    said = []
    for name in sorted(found.keys() - listed.keys()):
        said.append(f"{name} isn't in the list")
    for name in sorted(listed.keys() - found.keys()):
        said.append(f"{name} is in the list, but is no kernel any more")
    for name in sorted(found.keys() & listed.keys()):
        for arch, use in sorted(found[name].items()):
            before = listed[name].get(arch)
            if before is None:
                said.append(f"{name} on sm_{arch} isn't in the list")
                continue
            if use.spilled > before.spilled:
                said.append(
                    f"{name} on sm_{arch} spills {use.spilled} bytes, "
                    f"not {before.spilled}"
                )
            if use.stack > before.stack:
                said.append(
                    f"{name} on sm_{arch} has a stack of {use.stack} bytes, "
                    f"not {before.stack}"
                )
            if same_nvcc and use.registers > before.registers + FEW_REGISTERS:
                said.append(
                    f"{name} on sm_{arch} takes {use.registers} registers, "
                    f"not {before.registers}"
                )
    return said


def compile_all(nvcc: str, folder: Path) -> Uses:
    """Compiles each source for each GPU that this nvcc knows."""
    known = subprocess.run(
        [nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True
    ).stdout.split()
    archs = [arch for arch in ARCHS if f"compute_{arch}" in known]

    def compiled(job: tuple[Path, str]) -> str:
        source, arch = job
        target = folder / f"{source.stem}.{arch}.o"
        result = subprocess.run(
            [nvcc, *FLAGS, f"-arch=sm_{arch}", "-c", str(source), "-o", str(target)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            sys.exit(f"{source} doesn't compile for sm_{arch}:\n{result.stderr}")
        return result.stderr

    sources = sorted((ROOT / "cc" / "kernels").glob("*.cu"))
    jobs = [(source, arch) for source in sources for arch in archs]
    with ThreadPoolExecutor() as pool:
        return by_short_names(parse_ptxas("\n".join(pool.map(compiled, jobs))))


def main(arguments: list[str]) -> None:
    if arguments not in (["check"], ["write"]):
        sys.exit(f"usage: {Path(__file__).name} check | write")
    finder = subprocess.run(
        [ROOT / "cc" / "find_cuda.sh", "nvcc"],
        capture_output=True,
        text=True,
        check=False,
    )
    if finder.returncode != 0:
        print(f"The CUDA kernels were not compiled. {finder.stderr.strip()}")
        return
    nvcc = finder.stdout.strip()
    version = subprocess.run(
        [nvcc, "--version"], capture_output=True, text=True, check=True
    ).stdout
    release = re.search(r"release [\d.]+, V[\d.]+", version)
    if release is None:
        sys.exit(f"{nvcc} --version names no release:\n{version}")
    name = f"nvcc {release[0]}"
    with tempfile.TemporaryDirectory() as folder:
        found = compile_all(nvcc, Path(folder))
    if arguments == ["write"]:
        LISTED.write_text(to_text(found, name))
        print(f"{len(found)} kernels are in {LISTED.relative_to(ROOT)}")
        return
    listed, by = from_text(LISTED.read_text())
    if by != name:
        print(f"The list is by {by}, this is {name}: registers may differ.")
    if said := problems(listed, found, same_nvcc=by == name):
        said.append("If that is meant to be: `make gpu-resources` writes a new list.")
        sys.exit("\n".join(said))
    print(f"{len(found)} CUDA kernels compile, and take no more than is listed.")


if __name__ == "__main__":
    main(sys.argv[1:])
