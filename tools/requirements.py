"""Print what Quasar requires, and with the extras that are named.

For environments that take the checkout as it is, its engine built: requirements.py rtl ...
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, requires

try:
    lines = requires("quasar-vit") or []
except PackageNotFoundError:
    sys.exit("Error: Quasar is not installed for this Python; pip install -e . first")
for line in lines:
    requirement, _, condition = line.partition("; ")
    extra = re.fullmatch(r'extra == "(.*)"', condition)
    if extra is None or extra[1] in sys.argv[1:]:
        print(requirement)
