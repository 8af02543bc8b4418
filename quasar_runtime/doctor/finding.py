"""What a check of `quasar doctor` looks at, and what it finds."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quasar_runtime.errors import QuasarError


class Status(str, enum.Enum):
    """OK; WARNING: works, but worse than it could; FAILED; SKIPPED: makes no sense here."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What a check found, in words, and what to do about it (None where nothing is to be done)."""

    name: str
    status: Status
    found: str
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """What `quasar doctor --json` prints of it; see docs/cli.md."""
        return {
            "name": self.name,
            "status": self.status.value,
            "found": self.found,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Machine:
    """Where the checks look: `root` of the file system, environment, and who asks."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    user: int = field(default_factory=os.geteuid)

    def text(self, path: str) -> str | None:
        """A file's text, None where it cannot be read."""
        try:
            data = (self.root / path).read_bytes()
        except OSError:
            return None
        return data.decode(errors="replace").strip("\0\n ")

    @property
    def is_board(self) -> bool:
        """Whether Linux says that this is a Zynq UltraScale+."""
        return "zynqmp" in (self.text("proc/device-tree/compatible") or "")


def failed(name: str, error: QuasarError) -> Finding:
    """An error as a finding: what it says after its last semicolon is what to do."""
    found, _, remedy = str(error).rpartition("; ")
    return Finding(name, Status.FAILED, found or remedy, remedy if found else None)
