"""A model and its compiled program as plain facts, for `quasar inspect`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.predict import DDR, Cycles, program_cycles
from quasar_runtime.errors import ModelError, ModelNotFound
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program, weight_bytes
from quasar_runtime.model.network import Linear, Model
from quasar_runtime.model.zoo import load_model
from quasar_runtime.session.arena import aligned


def describe_model(model: Model) -> dict[str, Any]:
    """Geometry, precision in sum, preprocessing, and what the file says of the model's origin."""
    matrices = model.linears().values()
    return {
        "name": model.name,
        "image_size": model.image_size,
        "preprocessing": asdict(model.preprocessing),
        "tokens": model.tokens,
        "width": model.width,
        "depth": model.depth,
        "heads": [block.heads for block in model.blocks],
        "mlp": [block.mlp for block in model.blocks],
        "classes": model.classes,
        "weights": sum(m.weights.size for m in matrices),
        "rows8": sum(m.rows8 for m in matrices),
        "rows4": sum(m.rows - m.rows8 for m in matrices),
        "provenance": model.provenance,
        "target": model.target,
    }


def inspect_model(model: Model) -> dict[str, Any]:
    """describe_model, and under `layers` the precision of every matrix."""
    layers = [_layer(name, matrix) for name, matrix in model.linears().items()]
    return {**describe_model(model), "layers": layers}


def verify_model(name_or_path: str) -> str | None:
    """What is wrong with a model, None when it is sound. ModelNotFound when there is none."""
    try:
        load_model(name_or_path)
    except ModelNotFound:
        raise
    except ModelError as e:
        return str(e)
    return None


def inspect_program(model: Model, overlay: Overlay) -> dict[str, Any]:
    """The model compiled for an overlay: sizes, memory map and descriptors.

    macs count 4-bit multiply-accumulates, an 8-bit one as two. array_cycles is how long the
    overlay's array takes for them at the very least; `predicted` is what the cycle model says of
    the whole accelerator with a memory as stated there. CompileError when the model does not fit.
    """
    program = compile_model(model, overlay)
    cycles = program_cycles(program)
    return {
        "overlay": overlay.name,
        "bytes": int(program.data.size),
        "sha256": program.fingerprint,
        "macs": sum(program.macs),
        "array_cycles": -(-sum(program.macs) // overlay.macs),
        "clock_mhz": overlay.clock_mhz,
        "predicted": {
            "cycles": round(cycles.total),
            "milliseconds": round(cycles.total / overlay.clock_mhz / 1e3, 4),
            "fps": round(cycles.fps, 2),
            "memory": asdict(DDR),
        },
        "memory": memory_map(program),
        "descriptors": [_descriptor(program, number, cycles) for number in range(program.count)],
    }


def memory_map(program: Program) -> list[dict[str, Any]]:
    """Areas of external memory; those of the program with their offsets in it.

    Each is {area, name, offset, bytes}: area is one of the four base registers.
    """
    sections = [("descriptors", 0, program.count * hw.DESCRIPTOR_BYTES)]
    for number in range(program.count):
        sections += _sections(program, number)
    areas = [("program", *section) for section in sorted(sections, key=lambda s: s[1])]
    areas += [
        ("image", "image", 0, program.image_bytes),
        ("output", "logits", 0, aligned(program.classes * 4)),
        ("profile", "profile", 0, program.profile_bytes),
    ]
    return [
        {"area": area, "name": name, "offset": offset, "bytes": size}
        for area, name, offset, size in areas
    ]


def _sections(program: Program, number: int) -> list[tuple[str, int, int]]:
    """(name, offset, bytes) of what a descriptor reads from the program."""
    name, d = program.names[number], program.descriptors[number]
    op = Opcode(int(d["opcode"]))
    inputs, outputs = int(d["inputs"]), int(d["outputs"])
    parameters = int(d["parameters"])
    if op == Opcode.LOAD_RESIDUAL:
        return [(name, int(d["address"]), int(d["tokens"]) * inputs * 2)]
    if op == Opcode.LAYERNORM:
        return [(f"{name}.gain", parameters, inputs * 2)]
    if op == Opcode.ATTENTION:
        return [(f"{name}.heads", parameters, int(d["heads"]) * hw.HEAD_BYTES)]
    if op != Opcode.LINEAR:
        return []
    packed = weight_bytes(inputs, outputs, int(d["rows8"]), program.overlay)
    found = [
        (f"{name}.weights", int(d["weights"]), packed),
        (f"{name}.rows", parameters, outputs * hw.ROW_BYTES),
    ]
    if int(d["mode"]) == Epilogue.TABLE:
        found.append((f"{name}.table", int(d["lookup"]), hw.TABLE_BYTES))
    return found


def _descriptor(program: Program, number: int, cycles: Cycles) -> dict[str, Any]:
    """A descriptor: its work, the bytes it reads from the program, its predicted cycles (begin from
    START on) and the fields it uses.
    """
    d = program.descriptors[number]
    op = Opcode(int(d["opcode"]))
    return {
        "number": number,
        "name": program.names[number],
        "operation": op.name.lower(),
        "macs": program.macs[number],
        "bytes": sum(size for _, _, size in _sections(program, number)),
        "begin_cycle": round(float(cycles.begin[number])),
        "cycles": round(float(cycles.spans[number])),
        "fields": {field: int(d[field]) for field in hw.RULES[op] if field != "layer"},
    }


def _layer(name: str, matrix: Linear) -> dict[str, Any]:
    return {
        "name": name,
        "rows": matrix.rows,
        "inputs": matrix.inputs,
        "rows8": matrix.rows8,
        "rows4": matrix.rows - matrix.rows8,
        "weights": matrix.rows * matrix.inputs,
    }
