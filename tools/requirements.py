"""Print what Quasar requires, and with the extras that are named.

For environments that take the checkout as it is, its engine built: requirements.py rtl ...
"""

import re
import sys
from importlib.metadata import requires

for line in requires("quasar-vit") or []:
    requirement, _, condition = line.partition("; ")
    extra = re.fullmatch(r'extra == "(.*)"', condition)
    if extra is None or extra[1] in sys.argv[1:]:
        print(requirement)
