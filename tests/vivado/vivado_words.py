"""What the stand-in's parts share: its machine, its error, and the words of Tcl commands."""

import re
from dataclasses import dataclass


class VivadoError(Exception):
    """What Vivado would refuse, or what its script forgot."""


@dataclass
class Machine:
    """What the stand-in plays: its version, devices, and how runs go."""

    version: str = "2022.1"
    parts: tuple[str, ...] = ("xczu9eg-ffvb1156-2-e",)
    boards: tuple[str, ...] = ("xilinx.com:zcu102:part0:3.4",)
    clock_error: float = -1e-4
    setup_slack: float = 0.05
    hold_slack: float = 0.01
    failing_run: str = ""


def split_list(text: str) -> list[str]:
    """The elements of a Tcl list without backslashes."""
    found, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        start, depth = at, 0
        while at < len(text) and (depth or not text[at].isspace()):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        word = text[start:at]
        found.append(word[1:-1] if word[0] == "{" or word[0] == '"' else word)
    return found


def options(
    words: list[str], values: str = "", flags: str = "", positional: tuple[int, int] = (0, 0)
) -> tuple[dict[str, str], list[str]]:
    """Options and positional arguments of a command; VivadoError when they are not legal."""
    found, rest, at = {}, [], 0
    while at < len(words):
        word = words[at]
        if word.startswith("-") and word[1:] in flags.split():
            found[word[1:]] = "1"
        elif word.startswith("-") and word[1:] in values.split():
            at += 1
            if at == len(words):
                raise VivadoError(f"{word} has no value")
            found[word[1:]] = words[at]
        elif word.startswith("-") and not re.fullmatch(r"-[\d.]+", word):
            raise VivadoError(f"unknown option {word}")
        else:
            rest.append(word)
        at += 1
    if not positional[0] <= len(rest) <= positional[1]:
        raise VivadoError(f"{len(rest)} arguments, expected {positional}")
    return found, rest


def match(pattern: str, names: list[str]) -> list[str]:
    """Vivado's glob patterns: * does not cross a /."""
    expression = re.escape(pattern).replace(r"\*", "[^/]*")
    return [n for n in names if re.fullmatch(expression, n)]
