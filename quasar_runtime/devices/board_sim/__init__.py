"""A ZCU102 for PYNQ where there is none: the board's driver, unchanged, on a laptop.

    from quasar_runtime import Session
    from quasar_runtime.devices.board_sim import simulated_board

    with simulated_board("b1024"), Session("q-vit-160fps", device="board") as session:
        print(session.classify("examples/chelsea.jpg").predictions[0].label)

or, on the command line, `QUASAR_SIMULATED_BOARD=native quasar infer --device board ...`.

`pynq.Overlay`, `pynq.allocate`, `pynq.MMIO`, clocks and interrupts are the installed PYNQ's own
(3.0.1 or 4.0). Below them are a memory of which the CPU sees a shadow, so that a forgotten flush or
invalidate gives wrong bytes as it does on a board, the accelerator's registers in front of the
native engine or of the Verilated RTL, an AXI interrupt controller, a UIO file and the clock
registers. Faults can be put in everywhere.
"""

from quasar_runtime.devices.board_sim.board import SimulatedBoard, simulated_board, start

__all__ = ["SimulatedBoard", "simulated_board", "start"]
