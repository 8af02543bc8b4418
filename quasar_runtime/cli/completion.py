"""`quasar completion`"""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import HELP_OPTIONS, Verb

SHELLS = ("bash", "zsh", "fish")
PROGRAMS = ("quasar", "quasar-infer", "quasar-train")


@click.command(cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--json", is_flag=True, help="Print JSON, for programs.")
def completion(shell: str, json: bool) -> None:
    """Print a shell's completion script.

    The script completes verbs, options and the names of models, devices and overlays. Add
    `eval "$(quasar completion bash)"` to ~/.bashrc, or the same with zsh to ~/.zshrc. For fish
    write the output of `quasar completion fish` to ~/.config/fish/completions/quasar.fish.
    """
    script = "\n".join(_script(shell, program) for program in PROGRAMS)
    if json:
        Output().value({"shell": shell, "script": script})
    else:
        Output().line(script)


def _script(shell: str, program: str) -> str:
    kind = get_completion_class(shell)
    assert kind is not None
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    complete = kind(click.Command(program), {}, program, variable)
    # ShellComplete's own: that of bash first runs bash to ask for its version.
    return ShellComplete.source(complete)
