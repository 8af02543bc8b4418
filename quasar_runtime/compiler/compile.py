"""Model + overlay -> program: the order of operations, on-chip regions and the memory map.

Deterministic: the same model and overlay give the same bytes. The validator has proved the model's
ranges before it comes here; what can still fail is room on the chip (CompileError), which the
layout alone decides.
"""

from __future__ import annotations

from quasar_runtime.compiler.fit import advice
from quasar_runtime.compiler.layout import emit, plan
from quasar_runtime.errors import CompileError
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program, require
from quasar_runtime.model.network import Model


def compile_model(model: Model, overlay: Overlay, *, trace: bool = False) -> Program:
    """Compile a validated model for an overlay.

    With trace=True every operation's result is also stored to the output area (Program.traces), for
    comparison between devices and with the training graph. CompileError when it does not fit, which
    names the overlays that take it.
    """
    try:
        apart = plan(model, overlay, trace=trace)
    except CompileError as e:
        raise CompileError(f"{e}; {advice(model, overlay)}") from None
    b = emit(model, overlay, trace, apart=apart)
    program = b.program(model, model.classes * 4)
    require(program.data, program.count, overlay, program.image_bytes, program.output_bytes)
    return program
