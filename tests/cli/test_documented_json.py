"""The JSON that docs/cli.md shows has the keys that the verbs print."""

import json
import re
from pathlib import Path

import pytest

CLI = (Path(__file__).resolve().parents[2] / "docs/cli.md").read_text()
REFERENCE = ["--device", "reference", "--overlay", "b64"]


def section(name):
    """What docs/cli.md says under the heading of a command."""
    return re.search(rf"^## `{name}`$(.*?)(?=^## |\Z)", CLI, re.M | re.S).group(1)


def example(name):
    """The JSON object in a command's section."""
    return json.loads(re.search(r"```json\n(.*?)```", section(name), re.S).group(1))


def keys(value):
    """Keys of objects and of what they hold, the first entry standing for a list's."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value else None


@pytest.fixture
def printed(call, pictures):
    """What each verb prints."""
    (pictures / "n00000001").mkdir()
    (pictures / "n00000001" / "x.png").write_bytes((pictures / "a.png").read_bytes())
    broken = pictures / "n00000001" / "broken.jpg"

    def run(verb):
        if verb == "eval":
            broken.write_bytes(b"")
            return json.loads(call(verb, pictures, "--json", *REFERENCE, code=1).stdout)
        if verb == "bench":
            broken.write_bytes(b"")
            few = ["--runs", 2, "--warmup", 0]
            return json.loads(call(verb, pictures, "--json", *few, *REFERENCE, code=1).stdout)
        return json.loads(call(verb, pictures / "a.png", "--json", *REFERENCE).stdout)

    return run


@pytest.mark.parametrize("verb", ["infer", "eval"])
def test_documented_objects_are_those_that_are_printed(printed, verb):
    assert keys(example(f"quasar {verb}")) == keys(printed(verb))


def test_documented_measurements_are_those_that_are_printed(printed):
    documented, found = keys(example("quasar bench")), keys(printed("bench"))
    del documented["facts"], found["facts"]  # each device has its own
    for abbreviated in ("preprocess", "infer"):
        documented[abbreviated] = documented["decode"]
    assert documented == found


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("models list", []),
        ("models show", ["tiny-w8"]),
        ("models verify", []),
        ("inspect", ["tiny-w8", "--overlay", "b64"]),
        ("overlays list", []),
        ("overlays show", ["b64"]),
        ("overlays verify", []),
        ("devices", ["--no-build"]),
        ("completion", ["bash"]),
    ],
)
def test_every_key_of_the_other_verbs_is_documented(call, verb, arguments):
    found = keys(json.loads(call(*verb.split(), *arguments, "--json").stdout))
    found = found[0] if isinstance(found, list) else found
    text = section(f"quasar {verb}")
    if verb == "overlays list":
        text += section("quasar overlays show")
    for key in found:
        assert f"`{key}`" in text, key


def test_every_key_of_a_program_is_documented(call):
    found = keys(json.loads(call("inspect", "tiny-w8", "--overlay", "b64", "--json").stdout))
    program, text = found["program"], section("quasar inspect")
    inner = {**program["predicted"], **program["memory"][0], **program["descriptors"][0]}
    names = {*program, *inner, *program["predicted"]["memory"], *found["model"]["layers"][0]}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
