"""`python -m train VERB ...` in a checkout: `quasar-train VERB ...` where it is installed."""

from .commands.app import main

main()
