"""Runs the quick tests of one file under Bazel, with the library that it built."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest


def main() -> None:
    package = Path(importlib.util.find_spec("tf_approxgrad").origin).parent
    library = (package / "_op_library.so").resolve()
    if "bazel-out" not in library.parts:
        sys.exit(f"Bazel's tests are for the library that it built, not for {library}")

    # Bazel's sandbox lets a test write in its own folder and nowhere else.
    os.environ["HOME"] = os.environ["TEST_TMPDIR"]
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = os.environ["TEST_TMPDIR"]
    arguments = ["-m", "not slow", "-p", "no:cacheprovider"]
    report = "--junitxml=" + os.environ["XML_OUTPUT_FILE"]
    status = pytest.main([*arguments, report, *sys.argv[1:]])
    # A file whose tests are all slow leaves nothing to run.
    sys.exit(0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status)


if __name__ == "__main__":
    main()
