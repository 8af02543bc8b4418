"""What all verbs share: errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
import warnings

import click

from quasar_runtime.errors import QuasarError, did_you_mean

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
BAD_INPUT = 1
"""Exit code for a bad file, name or value; click exits with 2 on wrong usage."""
INTERRUPTED = 130
PIPE_CLOSED = 141


class Verb(click.Command):
    """A command whose errors a user can cause are printed as `Error: ...`, in one line.

    So are warnings, as `Warning: ...`.
    """

    def invoke(self, ctx: click.Context) -> None:
        # Pillow warns of odd metadata and of large pictures; what matters is an error or nothing.
        warnings.filterwarnings("ignore", module="PIL")
        warnings.showwarning = _print_warning
        try:
            super().invoke(ctx)
            sys.stdout.flush()
            return
        except BrokenPipeError:
            # Whoever read our output has left. Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = PIPE_CLOSED
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            code = INTERRUPTED
        except QuasarError as e:
            print_error(str(e))
            code = BAD_INPUT
        except OSError as e:
            print_error(f"{e.filename}: {e.strerror}" if e.filename else str(e))
            code = BAD_INPUT
        ctx.exit(code)


class VerbGroup(click.Group):
    """A group that, for an unknown verb, names the closest one or all of them."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verbs = self.list_commands(ctx)
        if args[0] not in verbs and not args[0].startswith("-"):
            hint = did_you_mean(args[0], verbs) or f"; known: {', '.join(verbs)}"
            raise click.UsageError(f"no verb '{args[0]}'{hint}", ctx)
        return super().resolve_command(ctx, args)


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    _print_line(f"Warning: {message}")


def print_error(message: str) -> None:
    """One line on stderr."""
    _print_line(f"Error: {message}")


def _print_line(message: str) -> None:
    line = " ".join(message.split())
    progress = sys.modules.get("tqdm")
    if progress is None:
        click.echo(line, err=True)
    else:  # around the progress bar, not into it
        progress.tqdm.write(line, file=sys.stderr)
