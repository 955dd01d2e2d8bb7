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
    longest = max(float(row["install_s"]) + float(row["first_step_s"]) for row in rows)
    (added,) = read("import_time")
    pairs, middle = added["rounds"], float(added["added_ms"])
    low, high = float(added["added_low_ms"]), float(added["added_high_ms"])
    return wrapped(
        f"One wheel of {float(rows[0]['wheel_mb']):.0f} MB serves Python "
        f"{_range(rows, 'python')} and TensorFlow {_range(rows, 'tensorflow')}. From "
        f"`pip install` to the end of the first training step of a converted model it "
        f"takes at most {longest:.0f} s. `import tf_approxgrad` adds {middle:.0f} ms "
        f"to `import tensorflow, keras` (median of {pairs} pairs; quartiles {low:.0f} "
        f"to {high:.0f})."
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
