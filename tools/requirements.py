"""Print what Quasar requires, and with the extras that are named.

For environments that take the checkout as it is, its engine built: requirements.py rtl ...
"""

import sys
from importlib.metadata import requires

from packaging.requirements import Requirement

for line in requires("quasar-vit") or []:
    requirement = Requirement(line)
    marker, requirement.marker = requirement.marker, None
    if marker is None or any(marker.evaluate({"extra": name}) for name in ["", *sys.argv[1:]]):
        print(requirement)
