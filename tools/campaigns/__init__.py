"""Fault campaigns: long runs that try to break Quasar, as commands. See docs/robustness.md.

They use the small cases of the tests, which is why tests/ is put on the path.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
if str(TESTS) not in sys.path:
    sys.path.append(str(TESTS))
