"""What holds for all tests."""

import signal

# A shell starts background jobs with SIGINT ignored, and children inherit that: the tests of Ctrl-C
# would then wait for an interrupt that never comes.
signal.signal(signal.SIGINT, signal.default_int_handler)
