"""`python -m quasar_runtime.cli VERB ...`, the same as `quasar VERB ...`."""

from quasar_runtime.cli import main

main()
