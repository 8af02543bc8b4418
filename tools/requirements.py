"""Print what Quasar requires, and with the extras that are named.

For environments that take the checkout as it is, its engine built: requirements.py rtl ...
"""

import sys
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement

try:
    lines = requires("quasar-vit") or []
except PackageNotFoundError:
    sys.exit("Error: Quasar is not installed for this Python; pip install -e . first")
for line in lines:
    requirement = Requirement(line)
    marker, requirement.marker = requirement.marker, None
    if marker is None or any(marker.evaluate({"extra": name}) for name in ["", *sys.argv[1:]]):
        print(requirement)
