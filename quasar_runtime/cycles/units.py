"""How long each unit of the accelerator takes: hw_src/rtl's schedule in closed form, or as a short
recurrence. `quasar_runtime.cycles.predict` puts the operations together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay

BEAT = 16
"""Bytes of a beat on a memory port."""
LOADS = (Opcode.LOAD_IMAGE, Opcode.LOAD_RESIDUAL)
LOGIT_BANKS = 4
PAGE = 4096 // BEAT
"""Beats of a page of memory, whose borders bursts do not cross."""


@dataclass(frozen=True)
class Ddr:
    """The external memory, as the rtl device's MemoryModel has it.

    latency         cycles from a burst's acceptance to its first beat
    gigabytes       bandwidth in all, 1e9 bytes per second
    port_gigabytes  bandwidth of a port of the DDR controller; each read port has its own up to two,
                    a third and a fourth share one
    """

    latency: int = 150
    gigabytes: float = 12.0
    port_gigabytes: float = 8.5


DDR = Ddr()


class Operation(NamedTuple):
    """What of a descriptor takes time; fields as in the descriptor.

    costs  LINEAR: cycles in which the results of a tile leave, group by group, or None for what
           randomly chosen rows take on average
    place  where in the program its parameters lie, in beats, or None
    """

    opcode: Opcode
    mode: int = 0
    tokens: int = 0
    keys: int = 0
    inputs: int = 0
    outputs: int = 0
    rows8: int = 0
    heads: int = 0
    image_size: int = 0
    costs: tuple[int, ...] | None = None
    place: int | None = None


class Timing:
    """Latencies of an overlay's pipelines in cycles, sizes of its buffers, and what the memory
    grants. The constants are read off the RTL and checked against it.
    """

    # Between an operation's end and the next one's begin: it is reported, then its unit is free.
    GAP = 2
    # From START to the first operation's begin, beyond the memory's latency (request, four beats,
    # the range check), and from there to the second one's, if it need not wait for the first.
    FIRST, CHECK = 27, 20
    # LINEAR: from its begin to its first step, and to its first row's parameters; a table comes
    # before those. Behind another operation on the array: from that one's last step to its first.
    STEP, ROWS, TABLE, BEHIND = 5, 6, 67, 1
    # From a tile's last step to its first drained slot, beyond the dot cells; and from behind its
    # last slot to the end: digits joined, bias, requantisation, writeback, report.
    ARRAY, RESULT = 6, 19
    # Weights from the port to the array's first step with them; a request from its grant to its
    # first beat, beyond what is under way before it.
    ARRIVED, BEHIND_WEIGHTS = 6, 6
    # Most groups in a block, and groups whose row parameters are held.
    BLOCK, GROUPS = 8, 16
    # An operation is handed over this long after the one before it at the earliest.
    HAND = 14
    # LAYERNORM: from a tile's last result to the sums' first word, from their last to the roots,
    # those beyond a token a cycle; from a word's read to its use; from a tile's last word to the
    # cycle in which it may be read.
    READ, SUMMED, ROOTS, WORD, NORMED = 5, 5, 12, 4, 17
    # What adds to the residual reads it so long after it has taken the lanes.
    ADDED = 13
    # ATTENTION: from the accumulators to the softmax, through its numerators, its reciprocals.
    SCORED, EXPONENT, RECIPROCAL = 3, 6, 6
    # LOAD and STORE beyond beats and latency; END and the run's end beyond a write's latency.
    LOAD, STORE, END, CLOSE = 10, 11, 9, 7
    # A memory access beyond the memory's latency.
    ACCESS = 14
    # Beats of row parameters that are buffered; operations whose parameters are known ahead.
    ROW_BEATS, QUEUE = 512, 16
    # Beats of a descriptor and of a table; bursts of each that are buffered.
    DESCRIPTOR, GELU, BUFFERED = 4, 16, 1
    # Most beats and bursts under way on a port, and beats of a burst.
    FLIGHT, BURSTS, BURST = 256, 16, 32
    # A load asks for a burst in so many cycles.
    REQUEST = 4

    def __init__(self, overlay: Overlay, ddr: Ddr) -> None:
        o = self.overlay = overlay
        self.latency = ddr.latency
        self.lanes = min(max(o.depth // 4, 2), 8)  # digit rows per cycle through the epilogue
        self.slots = o.rows // self.lanes
        self.phases = o.depth // self.lanes  # cycles of a word through LAYERNORM
        self.roots = self.ROOTS + o.tokens
        # Keys a cycle through the softmax: a score tile's between two of them, or more.
        self.exp_rows = max(8 if o.depth >= 32 else o.depth // 8, o.rows * o.depth // 128)
        # Products in LUTs, by which squares come two cycles and numerators one cycle later.
        self.fabric = o.tokens * o.rows * o.depth > 4096
        self.summed = self.SUMMED + 2 * self.fabric
        self.gain = 8 // self.lanes  # cycles of a beat of gains
        dot_cells = 6 + ((o.depth // 4 - 1).bit_length() + 1) // 2
        self.array = self.ARRAY + dot_cells
        # Weights come through one port, or through all when an array beat is wide.
        array_bytes = o.rows * o.depth // 2
        ports = o.read_ports if array_bytes // o.read_ports >= 256 else 1
        # Cycles of an array beat from memory, and from the buffers: behind several ports there is a
        # buffer of whole array beats. How many array beats all buffers hold.
        self.part = array_bytes // ports // BEAT
        self.fast = 1 if ports > 1 else self.part
        self.weight_beats = 1 + (512 // self.part + 1024 if ports > 1 else 1024 // self.part)
        # The ring in front of the array, which runs ahead too, and what of it attention leaves.
        kv_beats = 8 * hw.CONSTANTS["MAX_TOKENS"] * hw.HEAD_DIM // (o.rows * o.depth)
        self.ring = max(2 * hw.CONSTANTS["MAX_CHANNELS"] // o.depth, kv_beats)
        self.ring_free = self.ring - kv_beats
        self.shared = ports == o.read_ports  # with the row parameters, which use port 0
        # Ports of the image and of the position values.
        self.streams = 2 if o.depth == 32 else 1
        self.load_lanes = 2 if o.depth == 32 and o.read_ports > 1 else 1
        # Beats a cycle of a port, less when too little is under way, and of the whole memory.
        beat = o.clock_mhz * 1e6 * BEAT / 1e9  # one beat per cycle, in GB/s
        burst = self.part if ports > 1 else self.BURST
        flight = min(self.FLIGHT + burst / 2, self.BURSTS * burst)
        self.port_rate = min(
            1.0,
            ddr.port_gigabytes / beat / (2 if ports > 3 else 1),
            flight / (ddr.latency + self.ACCESS),
        )
        self.memory_rate = ddr.gigabytes / beat
        # What a request waits for that finds its port busy with weights.
        self.queued = self.FLIGHT / self.port_rate + self.BEHIND_WEIGHTS
        # The longest ago before the array's last step that a request can have been made which a
        # LINEAR behind that step waits for; and weights that begin to pass then fill the ring.
        self.asked = self.queued + self.ARRIVED + 2 * self.BURST
        self.filling = -float(self.fast * self.ring + self.BURST)
        self.ports = ports
        # Of a port when all that load are at work.
        self.rate = min(self.port_rate, self.memory_rate / max(ports, min(o.read_ports, 2)))


def parameter_beats(w: Operation) -> int:
    """Beats of parameters that an operation reads."""
    if w.opcode == Opcode.LINEAR:
        return w.outputs
    if w.opcode == Opcode.LAYERNORM:
        return w.inputs // 8
    return (w.heads + 1) // 2  # none but of ATTENTION


# ---- ATTENTION


@lru_cache(maxsize=4096)
def attention(t: Timing, tokens: int, keys: int, heads: int) -> float:
    """The array's order of score (S) and value (V) tiles, each waiting for what it needs: K or V of
    its head copied to the weight memory, a free score buffer, the softmax's numerators.

    K and V are copied, one head ahead, in cycles in which the array does not read activations: at
    any time but during S.
    """
    o = t.overlay
    tiles, key_tiles = -(-tokens // o.tokens), -(-keys // o.tokens)
    words = hw.HEAD_DIM // o.depth
    score = -(-keys // (o.rows // 2)) * words
    v_steps = -(-keys // o.depth)
    value = v_steps + (2 * hw.HEAD_DIM // o.rows - 1) * max(v_steps, t.slots)
    copies = (key_tiles * words, key_tiles * words * (2 * o.depth // o.rows))
    blocks = v_steps * o.depth // t.exp_rows
    fill = _Fill(copies, heads, 2.0)
    total = heads * tiles
    ready, released = [0.0] * total, [0.0] * total
    drained = [0.0] * total
    softmax = 0.0

    def scores(i: int, now: float) -> float:
        nonlocal softmax
        start = max(now, fill.until(2 * (i // tiles)))
        if i >= 2:
            start = max(start, released[i - 2])
        fill.pause(start, start + score)
        parts = o.rows // 2 // t.exp_rows  # cycles in which a score tile enters the softmax
        run = max(start + score + t.array + t.SCORED + parts - 1, softmax)
        if i >= 2:
            run = max(run, drained[i - 2])
        released[i] = run + blocks
        ready[i] = run + blocks + t.EXPONENT + t.fabric
        softmax = ready[i] + o.tokens + t.RECIPROCAL
        return start + score

    now = scores(0, 3.0 + t.ROWS)
    for i in range(total):
        if i + 1 < total:
            now = scores(i + 1, now)
        now = max(now, ready[i], fill.until(2 * (i // tiles) + 1)) + value
        drained[i] = now + t.array + t.slots
        if (i + 1) % tiles == 0:
            fill.release(now)
    return now - 2 + t.array + t.slots + t.RESULT


class _Fill:
    """Copies of K and V to the weight memory, which has room for two heads: job 2h is K of head h,
    2h + 1 its V. Time only moves on.
    """

    WRITTEN = 4  # from a word's read to its use

    def __init__(self, copies: tuple[int, int], heads: int, begin: float) -> None:
        self.copies, self.jobs = copies, 2 * heads
        self.now, self.left = begin, float(copies[0])
        self.releases: list[float] = []
        self.done: list[float] = []

    def release(self, now: float) -> None:
        """Free a head's room in the weight memory."""
        self.advance(now)
        self.releases.append(now)

    def advance(self, to: float) -> None:
        """Copy up to time `to`."""
        while len(self.done) < self.jobs and self.now < to:
            head = len(self.done) // 2
            if head >= 2 and len(self.releases) < head - 1:
                self.now = to  # no room
                return
            if self.now + self.left > to:
                self.left -= to - self.now
                self.now = to
                return
            self._finish()

    def pause(self, begin: float, end: float) -> None:
        """Pause the copies while the array reads activations."""
        self.advance(begin)
        self.now = max(self.now, end)

    def until(self, job: int) -> float:
        """When a job is done if no further pause interrupts it."""
        while len(self.done) <= job:
            self._finish()
        return self.done[job]

    def _finish(self) -> None:
        self.now += self.left
        self.done.append(self.now + self.WRITTEN)
        self.left = float(self.copies[len(self.done) % 2])


# ---- Loads and stores


def first_beats(t: Timing, work: Sequence[Operation]) -> int:
    """Beats of descriptors and tables that are read before the loads.

    They fill the queue and the buffers behind it. The first burst does not count: the first
    operation waits for it.
    """
    per_burst = t.BURST // t.DESCRIPTOR
    descriptors = min(len(work), t.QUEUE + t.BUFFERED * per_burst) - per_burst
    tables = sum(w.mode == Epilogue.TABLE for w in work[: t.QUEUE] if w.opcode == Opcode.LINEAR)
    return t.DESCRIPTOR * max(0, descriptors) + min(t.GELU * tables, t.BUFFERED * t.BURST)


def loads(
    t: Timing, loads: Sequence[Operation], begins: Sequence[float], rows: float
) -> tuple[list[float], float]:
    """Ends of one load or of two that overlap, and beats of the weights' busiest port meanwhile.

    At START `rows` beats of row parameters are read ahead through port 0 before the rest. The image
    has priority over the position values, except those requested first, which had room.
    """
    o = t.overlay
    last = o.read_ports - 1
    beats, spans, ports = {}, {}, {}
    for w in loads:
        image = w.opcode == Opcode.LOAD_IMAGE
        lanes = t.streams if image else t.load_lanes
        # Of two lanes each takes every other row; with one more, the first has it.
        count = -(-(w.image_size if image else w.tokens) // lanes) * _row(w)
        used = {0 if image else last} if lanes == 1 else {0, last}
        beats[w.opcode] = count * lanes / len(used)  # on each of its ports
        # A beat of the image is two words at DEPTH 8.
        spans[w.opcode] = count * max(2 if image and o.depth == 8 else 1, 1 / _burst_rate(t, w))
        ports[w.opcode] = used
    residual = beats.get(Opcode.LOAD_RESIDUAL, 0.0)
    alone = t.CHECK / t.REQUEST  # bursts asked for before the image's begin to share the port
    first = max(
        ((t.BURSTS + alone) / 2 * _burst(w) for w in loads if w.opcode == Opcode.LOAD_RESIDUAL),
        default=0.0,
    )
    ends = []
    for w, begin in zip(loads, begins, strict=True):
        mine = ports[w.opcode]
        before = float(rows) if 0 in mine else 0.0
        if w.opcode == Opcode.LOAD_RESIDUAL:
            if residual <= first:
                before = 0.0
            elif mine & ports.get(Opcode.LOAD_IMAGE, set()):
                before += beats[Opcode.LOAD_IMAGE]
        elif mine & ports.get(Opcode.LOAD_RESIDUAL, set()):
            before += min(residual, first)
        span = max(spans[w.opcode], beats[w.opcode] / t.rate)
        ends.append(begin + t.latency + t.LOAD + before / t.rate + span)
    busy = [sum(beats[op] for op in beats if p in ports[op]) for p in (0, last)]
    busy[0] += rows
    return ends, max(busy) if t.shared else busy[1]


def _row(w: Operation) -> int:
    """Beats of a load's job: an image row, or a token."""
    return w.image_size * 3 // BEAT if w.opcode == Opcode.LOAD_IMAGE else w.inputs * 2 // BEAT


def _burst(w: Operation) -> float:
    """Mean beats of a burst of a load: each job takes whole bursts."""
    row = _row(w)
    return row / -(-row // Timing.BURST)


def _burst_rate(t: Timing, w: Operation) -> float:
    """Beats per cycle of a load.

    Bounded by the bursts that may be in flight and by one request per four cycles.
    """
    burst = _burst(w)
    return min(t.rate, t.BURSTS * burst / (t.latency + t.ACCESS), burst / t.REQUEST)


def store(t: Timing, w: Operation) -> float:
    """Cycles of a STORE: four logits per cycle, or up to 16 bytes of an on-chip word."""
    if w.mode == Source.LOGITS:
        units: float = -(-w.outputs // 4)
    else:
        word = t.overlay.depth * (1 if w.mode == Source.ACT else 2)
        units = w.tokens * (w.inputs // t.overlay.depth) * max(1, word // BEAT)
    return units + t.STORE
