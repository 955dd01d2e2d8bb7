"""Makes `benchmarks` importable, as when a program runs from the checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
