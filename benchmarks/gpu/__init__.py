"""All checks and benchmarks that need a GPU: `make gpu-check`, or `python -m benchmarks.gpu`.

Read `__main__` first: it runs the groups of checks and prints what they found.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The cases of the ops and the bounds of attention are those of the tests.
sys.path.append(str(ROOT / "tests" / "helpers"))
