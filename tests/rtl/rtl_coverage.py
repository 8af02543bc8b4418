"""Coverage of descriptor fields and parameters: which of their bins a set of programs uses.

least, typical, most   a number at the ends of its range, and between. A range that the memories
                       of the overlay bound ends there (MOST).
first, inside, last    a region's base or an offset: at the begin of its memory or area, ending
                       with it, or neither
tight, gaps, whole     a pitch: no gap between tokens, gaps, the region takes the whole memory
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from quasar_runtime.compiler.layout import align
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program, region_words, weight_bytes

Bin = tuple[str, str, str]
"""Operation with its mode, field, bin."""
BASES = {"source", "source_kv", "destination"}
PITCHES = {"source_pitch", "kv_pitch", "destination_pitch"}
OFFSETS = {"address", "weights", "parameters", "lookup"}
ENDS = ("least", "typical", "most")
MOST = {("LOAD_IMAGE", "image_size"): 144, ("LINEAR LOGITS", "outputs"): 1024,
        ("LINEAR LOGITS", "rows8"): 1024, ("STORE LOGITS", "outputs"): 1024}  # fmt: skip
"""On b64: an image of 82 tokens fills ACT, and there are 1,024 logits."""
FIXED = {("LINEAR LOGITS", "tokens")}
"""Logits are of one token."""
UNUSED = {
    "LINEAR RESIDUAL": {"destination", "lookup", "clamp"},
    "LINEAR LOGITS": {"destination", "destination_pitch", "lookup", "clamp"},
    "LINEAR REQUANTISE": {"lookup"},
    "STORE LOGITS": {"tokens", "inputs", "source", "source_pitch"},
    "STORE ACT": {"outputs"},
    "STORE RESIDUAL": {"outputs", "source"},
}
"""Fields that have no meaning in a mode."""


def kind_of(d: np.void) -> str:
    """The operation's name, with its mode where there are several."""
    opcode = Opcode(int(d["opcode"]))
    modes = {Opcode.LINEAR: Epilogue, Opcode.STORE: Source}
    return f"{opcode.name} {modes[opcode](int(d['mode'])).name}" if opcode in modes else opcode.name


def kinds() -> Iterator[tuple[str, Opcode]]:
    for opcode in hw.RULES:
        modes = {Opcode.LINEAR: Epilogue, Opcode.STORE: Source}.get(opcode)
        if modes is None:
            yield opcode.name, opcode
        else:
            yield from ((f"{opcode.name} {mode.name}", opcode) for mode in modes)


def labels(kind: str, name: str) -> tuple[str, ...]:
    """The bins of a field."""
    if name in BASES:
        return ("first", "inside", "last")
    if name in PITCHES:
        return ("tight", "gaps", "whole")
    if name in OFFSETS:  # what lies in the program lies behind the table
        return ("first", "inside", "last") if in_area(kind, name) else ("inside", "last")
    return ENDS


def in_area(kind: str, name: str) -> bool:
    """Whether an offset is one of the image or output area."""
    return name == "address" and kind != "LOAD_RESIDUAL"


def all_bins() -> list[Bin]:
    """Every bin of every field, and of the parameters in memory."""
    found = []
    for kind, opcode in kinds():
        names = set(hw.RULES[opcode]) - UNUSED.get(kind, set()) - {"mode"}
        for name in [f.name for f in hw.FIELDS if f.name in names and (kind, f.name) not in FIXED]:
            found += [(kind, name, label) for label in labels(kind, name)]
        for name in PARAMETERS.get(opcode, {}):
            if kind != "LINEAR LOGITS" or name not in ("row multiplier", "row shift"):
                found += [(kind, name, label) for label in ENDS]
    return found


N, M = hw.CONSTANTS["SHIFT_MAX"], hw.CONSTANTS["MULTIPLIER_MAX"]
PARAMETERS: dict[Opcode, dict[str, tuple[str, int, int]]] = {
    Opcode.LINEAR: {"row multiplier": ("multiplier", 0, M), "row shift": ("shift", 0, N)},
    Opcode.LAYERNORM: {"gain": ("", 0, M)},
    Opcode.ATTENTION: {
        "score multiplier": ("score_multiplier", 0, M),
        "score shift": ("score_shift", 0, hw.CONSTANTS["SCORE_SHIFT_MAX"]),
        "out multiplier": ("out_multiplier", 0, M),
        "out shift": ("out_shift", 0, N),
    },
}
"""Values in memory: their field in the parameter, least and most."""


def number(value: int, low: int, high: int) -> str:
    return "least" if value == low else "most" if value == high else "typical"


def place(base: int, size: int, room: int) -> str:
    return "first" if base == 0 else "last" if base + size >= room else "inside"


def region(d: np.void, name: str, overlay: Overlay) -> tuple[str, int, int, int, int]:
    """(memory, base, tokens, pitch, channels) of the region that a base or pitch belongs to."""
    opcode, channels = Opcode(int(d["opcode"])), int(d["inputs"])
    tokens, mode = int(d["tokens"]), int(d["mode"])
    if opcode == Opcode.LOAD_IMAGE:
        tokens, channels = (int(d["image_size"]) // 16) ** 2 + 1, hw.PATCH_CHANNELS
    elif opcode == Opcode.LINEAR and name.startswith("destination"):
        channels = int(d["outputs"])
    elif opcode == Opcode.ATTENTION:
        channels = int(d["heads"]) * hw.HEAD_DIM
        if name in ("source_kv", "kv_pitch"):
            tokens = int(d["keys"])
            channels += max(int(d["channel_k"]), int(d["channel_v"]))
    which = {"source": "source", "source_pitch": "source", "source_kv": "source_kv",
             "kv_pitch": "source_kv"}.get(name, "destination")  # fmt: skip
    pitch = int(d[{"source_kv": "kv_pitch"}.get(which, f"{which}_pitch")])
    residual = (
        opcode == Opcode.LOAD_RESIDUAL
        or (opcode == Opcode.LAYERNORM and which == "source")
        or (opcode == Opcode.LINEAR and which == "destination" and mode == Epilogue.RESIDUAL)
        or (opcode == Opcode.STORE and mode == Source.RESIDUAL)
    )
    return "res" if residual else "act", int(d[which]), tokens, pitch, channels


def area(d: np.void, name: str, program: Program) -> tuple[int, int]:
    """(bytes at an offset, bytes of the area it is in)."""
    opcode, data = Opcode(int(d["opcode"])), program.data.size
    tokens, inputs, outputs = int(d["tokens"]), int(d["inputs"]), int(d["outputs"])
    if name == "weights":
        return weight_bytes(inputs, outputs, int(d["rows8"]), program.overlay), data
    if name == "lookup":
        return hw.TABLE_BYTES, data
    if name == "parameters":
        sizes = {Opcode.LINEAR: outputs * hw.ROW_BYTES, Opcode.LAYERNORM: 2 * inputs}
        return sizes.get(opcode, int(d["heads"]) * hw.HEAD_BYTES), data
    if opcode == Opcode.LOAD_IMAGE:
        return int(d["image_size"]) ** 2 * 3, program.image_bytes
    if opcode == Opcode.LOAD_RESIDUAL:
        return tokens * inputs * 2, data
    size = outputs * 4 if int(d["mode"]) == Source.LOGITS else tokens * inputs * int(d["mode"])
    return size, program.output_bytes


def bin_of(d: np.void, kind: str, name: str, program: Program) -> str:
    """The bin of one field of a descriptor."""
    overlay, value = program.overlay, int(d[name])
    if name in OFFSETS:
        size, room = area(d, name, program)
        found = place(value, align(size), align(room))
        return "inside" if found == "first" and not in_area(kind, name) else found
    if name in BASES | PITCHES:
        memory, base, tokens, pitch, channels = region(d, name, overlay)
        room = overlay.act_words if memory == "act" else overlay.res_words
        words = region_words(tokens, pitch, overlay)
        if name in BASES:
            return place(base, words, room)
        tight = pitch == -(-channels // overlay.depth)
        return "whole" if words == room else "tight" if tight else "gaps"
    rule = hw.RULES[Opcode(int(d["opcode"]))][name]
    return number(value, rule.low, MOST.get((kind, name), rule.high))


def parameters(d: np.void, program: Program) -> Iterator[tuple[str, str]]:
    """(parameter, bin) of what an operation reads."""
    opcode, first = Opcode(int(d["opcode"])), int(d["parameters"])
    known = PARAMETERS.get(opcode, {})
    if not known:
        return
    size = area(d, "parameters", program)[0]
    dtype = {Opcode.LINEAR: hw.ROW_DTYPE, Opcode.ATTENTION: hw.HEAD_DTYPE}.get(opcode, "<u2")
    values = program.data[first : first + size].view(dtype)
    for name, (field, low, high) in known.items():
        for value in np.unique(values[field] if field else values).tolist():
            yield name, number(value, low, high)


def covered(program: Program) -> Counter[Bin]:
    """How often a program uses each bin."""
    found: Counter[Bin] = Counter()
    for d in program.descriptors:
        kind = kind_of(d)
        for name in set(hw.RULES[Opcode(int(d["opcode"]))]) - UNUSED.get(kind, set()) - {"mode"}:
            found[kind, name, bin_of(d, kind, name, program)] += 1
        found.update((kind, *x) for x in parameters(d, program))
    return found


def report(random: Counter[Bin], directed: Counter[Bin]) -> str:
    """A line a field: its bins, and how often random and directed programs use each."""
    fields: dict[tuple[str, str], list[str]] = {}
    for kind, name, label in all_bins():
        counts = f"{label} {random[kind, name, label]}+{directed[kind, name, label]}"
        fields.setdefault((kind, name), []).append(counts)
    lines = ["bins of descriptor fields and parameters: uses by random + directed programs"]
    for (kind, name), counts in fields.items():
        lines.append(f"{kind:<18}{name:<19}" + "".join(f"{c:<22}" for c in counts).rstrip())
    return "\n".join(lines)
