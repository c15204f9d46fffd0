"""Made cubes are shared by the tests of fits and of claims."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
