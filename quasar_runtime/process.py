"""Which process something belongs to.

os.fork copies memory, but no threads: in the child, a session's helper threads do not exist, a lock
that one of them held stays locked for ever, and registers mapped from a board are still the
parent's. So sessions and devices belong to the process that opened them. In any other, using them
raises DeviceClosed at once, and closing them, or leaving them to the garbage collector or to the
end of the process, does nothing: what they hold is the parent's, and the child's copy of it costs
no memory until one of the two writes to it.
"""

from __future__ import annotations

import os

from quasar_runtime.errors import DeviceClosed


class Owner:
    """The process in which this object was made.

    what  the thing that belongs to it, as messages name it: 'session', 'native device'
    """

    __slots__ = ("_process", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._process = os.getpid()

    def is_here(self) -> bool:
        """Whether this process is the owner."""
        return os.getpid() == self._process

    def require(self) -> None:
        """DeviceClosed in any other process."""
        if not self.is_here():
            raise DeviceClosed(
                f"this {self._what} belongs to another process (PID {self._process}); "
                "open one after the fork"
            )


def refuse_to_copy(thing: object) -> TypeError:
    """The error of an attempt to pickle or copy something that holds threads and memory."""
    name = type(thing).__name__
    return TypeError(
        f"a {name} cannot be pickled or copied: it holds threads and device memory; "
        "open one in each process, from a model's name or path"
    )
