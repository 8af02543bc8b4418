"""What all verbs share: errors become one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import click

from quasar_runtime.cli import streams
from quasar_runtime.cli.messages import missing_package
from quasar_runtime.errors import QuasarError, did_you_mean

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
BAD_INPUT = 1
"""Exit code for a bad file, name or value; click exits with 2 on wrong usage."""
INTERRUPTED = 130
UNCUT = 1000
"""Letters of a summary: more than any has."""


class Parsed(click.Command):
    """A command whose help and version are written as answers are."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments; help goes to stdout as answers do."""
        with streams.written():
            return super().make_context(*args, **kwargs)


class Verb(Parsed):
    """A command whose errors a user can cause are printed as `Error: ...`, in one line, and whose
    warnings as `Warning: ...`.
    """

    def invoke(self, ctx: click.Context) -> None:
        """Run the verb; see `reported` for its errors."""
        # Pillow warns of odd metadata and of large pictures; what matters is an error or nothing.
        warnings.filterwarnings("ignore", module="PIL")
        warnings.showwarning = _print_warning
        with reported():
            super().invoke(ctx)


class VerbGroup(Parsed, click.Group):
    """A group that lists its verbs with whole summaries, and for an unknown verb names the closest
    one or all of them.
    """

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name, **{"subcommand_metavar": "VERB ...", **kwargs})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are written; click sorts them."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """click cuts a summary that is longer than its line; this wraps it."""
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Verbs"):
            formatter.write_dl(
                [(name, verb.get_short_help_str(UNCUT)) for name, verb in verbs if verb]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb of `args`; click.UsageError names the closest one for an unknown name."""
        verbs = self.list_commands(ctx)
        if args[0] not in verbs and not args[0].startswith("-"):
            hint = did_you_mean(args[0], verbs) or f"; known: {', '.join(verbs)}"
            raise click.UsageError(f"no verb '{args[0]}'{hint}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(VerbGroup):
    """A group that imports a verb's module only when the verb is named.

    verbs  verb -> its module; the command is what bears the module's own name there
    """

    def __init__(self, *args: Any, verbs: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = dict(verbs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, in the order of `--help`."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb, imported now; None for an unknown name."""
        module = self.verbs.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(module), module.rpartition(".")[2])
        assert isinstance(command, click.Command)
        return command


@contextmanager
def reported() -> Iterator[None]:
    """Print what a user, or this machine, can cause as one line, and exit with its code; what is
    left is a bug, and keeps its traceback.
    """
    try:
        yield
        return
    except BrokenPipeError:
        code = streams.nobody_reads()
    except KeyboardInterrupt:
        streams.complain("Interrupted")
        code = INTERRUPTED
    except click.ClickException as e:
        with suppress(OSError):
            e.show()
        code = e.exit_code
    except (QuasarError, OSError, ImportError, MemoryError, RuntimeError) as e:
        message = _message(e)
        if message is None:
            raise
        print_error(message)
        code = BAD_INPUT
    raise click.exceptions.Exit(code)


def print_error(message: str) -> None:
    """One line on stderr."""
    streams.complain("Error: " + " ".join(message.split()))


def _print_warning(message: Warning | str, *_where: Any, **_options: Any) -> None:
    streams.complain("Warning: " + " ".join(str(message).split()))


def _message(e: Exception) -> str | None:
    """What to say of an error; None for a bug."""
    if isinstance(e, QuasarError):
        return str(e)
    if isinstance(e, ImportError):
        return missing_package(e)
    if isinstance(e, MemoryError):
        said = f" ({e})" if str(e) else ""
        return f"out of memory{said}; end other programs, or raise the limit (ulimit -v)"
    if isinstance(e, OSError):
        said = f"{e.filename}: {e.strerror}" if e.filename else str(e)
        return said + _remedy(e.errno)
    if "start new thread" in str(e):
        return f"{e}; raise the limits of processes and memory (ulimit -u, ulimit -v)"
    return None


def _remedy(number: int | None) -> str:
    """What to do where the system itself is short of something."""
    return {
        errno.EMFILE: "; raise the limit of open files (ulimit -n)",
        errno.ENFILE: "; end programs that hold files open",
        errno.EAGAIN: "; raise the limit of processes (ulimit -u)",
        errno.ENOMEM: "; end other programs, or raise the limit (ulimit -v)",
        errno.ENOSPC: "; make room, or set TMPDIR to a folder that has some",
    }.get(number or 0, "")
