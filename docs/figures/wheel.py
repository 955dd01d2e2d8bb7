"""What the wheel was tried with, from benchmarks/results/wheel.csv."""

from __future__ import annotations

from collections.abc import Callable

from tables import Row, markdown, read, wrapped


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _range(rows: list[Row], column: str) -> str:
    """The oldest and the newest minor version of a column."""
    versions = sorted(
        {_minor(row[column]) for row in rows},
        key=lambda version: [int(part) for part in version.split(".")],
    )
    return f"{versions[0]} to {versions[-1]}"


def claim() -> str:
    """Size, versions and the longest time to the first training step."""
    rows = read("wheel")
    ((_, size),) = {(row["wheel"], row["wheel_mb"]) for row in rows}
    longest = max(float(row["install_s"]) + float(row["first_step_s"]) for row in rows)
    (added,) = read("import_time")
    middle, low, high = (
        f"{float(added[name]):.0f}"
        for name in ("added_ms", "added_low_ms", "added_high_ms")
    )
    return wrapped(
        f"One wheel of {float(size):.0f} MB serves Python {_range(rows, 'python')} and "
        f"TensorFlow {_range(rows, 'tensorflow')}. From `pip install` to the end of "
        f"the first training step of a converted model it takes at most {longest:.0f} "
        f"s. `import tf_approxgrad` takes {middle} ms after TensorFlow and Keras "
        f"(median of {added['rounds']} processes; quartiles {low} to {high})."
    )


def combinations() -> str:
    """Each environment."""
    header = (
        "TensorFlow",
        "Python",
        "Keras",
        "NumPy",
        "Tests passed",
        "Install, s",
        "First step, s",
    )
    return markdown(
        header,
        (
            (
                f"`{row['distribution']}` {row['tensorflow']}",
                row["python"],
                row["keras"],
                row["numpy"],
                row["tests"],
                row["install_s"],
                row["first_step_s"],
            )
            for row in read("wheel")
        ),
        texts=4,
    )


WHEEL_TABLES: dict[str, Callable[..., str]] = {
    "wheel_claim": claim,
    "wheel_combinations": combinations,
}
