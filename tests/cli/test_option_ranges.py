"""Every option that takes a number says which: what is outside is wrong usage, before any work."""

import click
import pytest

from quasar_runtime.cli.app import quasar

REFERENCE = ["--device", "reference", "--overlay", "b64"]


def leaves(command: click.Command, path: tuple[str, ...] = ()):
    """Every verb with its path."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    with click.Context(command) as context:
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*path, name))


VERBS = dict(leaves(quasar))
NUMBERS = {
    (verb, option.opts[0]): option
    for verb, command in VERBS.items()
    for option in command.params
    if isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType))
}
NONSENSE = ["", "-1", "nan", "inf", "-inf", "1e400", "1" + "0" * 30, "9" * 5000, "0x10", "many"]
each_number = pytest.mark.parametrize(("verb", "name"), NUMBERS, ids=lambda v: "-".join(v))


def test_there_are_options_to_look_at():
    found = {name for _, name in NUMBERS}
    assert {"--top", "--threads", "--timeout", "--runs", "--warmup", "--max-cycles"} <= found


@each_number
def test_a_number_is_bounded_on_both_sides(verb, name):
    """One without a largest value is an endless run, or memory for all of it."""
    kind = NUMBERS[verb, name].type
    assert kind.min is not None
    assert kind.max is not None


def arguments(verb, name, value):
    needed = ["x" for p in VERBS[verb].params if isinstance(p, click.Argument) and p.required]
    return [*verb, *needed, name, value]


@each_number
@pytest.mark.parametrize("value", NONSENSE, ids=lambda v: v[:12])
def test_a_value_outside_is_wrong_usage(call, verb, name, value):
    result = call(*arguments(verb, name, value), code=2)
    assert f"Invalid value for '{name}'" in result.stderr
    assert result.stdout == ""


@each_number
def test_the_limits_themselves_are_accepted_and_what_lies_beyond_is_not(call, verb, name):
    kind = NUMBERS[verb, name].type
    with click.Context(VERBS[verb]) as context:
        for value in (kind.max, kind.min + 1 if kind.min_open else kind.min):
            assert kind.convert(str(value), None, context) == value
        for value in (kind.max + 1, kind.min - (not kind.min_open)):
            with pytest.raises(click.BadParameter):
                kind.convert(str(value), None, context)


@pytest.mark.parametrize(
    "window",
    ["", ":", "5", "5:5", "9:3", "-1:5", "a:b", "0:" + "9" * 30, "9" * 5000 + ":9", "٣:٥", "0:1e3"],
)
def test_a_window_that_holds_no_cycles_is_wrong_usage(call, window):
    options = ["-d", "rtl", "--vcd", "x.vcd", "--window", window]
    assert "is no window of cycles" in call("infer", "x.jpg", *options, code=2).stderr


@pytest.mark.parametrize(
    "options", [["--top", "4096"], ["--timeout", "1000000"], ["--threads", "256"]]
)
def test_extreme_values_that_are_allowed_are_answered(call, pictures, options):
    assert "class" in call("infer", pictures / "a.png", *options, *REFERENCE).stdout


@pytest.mark.parametrize("option", ["--device", "--overlay", "--model"])
@pytest.mark.parametrize("value", ["", ".", "..", "/", "a\nb", "-", "ä" * 300, "../b64"])
def test_a_name_that_is_none_is_one_line(call, pictures, option, value):
    arguments = ["infer", pictures / "a.png", *REFERENCE, option, value]
    (line,) = call(*arguments, code=1).stderr.splitlines()
    assert line.startswith("Error: ")
