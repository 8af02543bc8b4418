"""How long each unit of the accelerator takes: hw_src/rtl's schedule in closed form, or as a short
recurrence. `quasar_runtime.cycles` puts the operations together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from quasar_runtime import interface as hw
from quasar_runtime.interface import Opcode, Source
from quasar_runtime.overlay import Overlay

BEAT = 16
"""Bytes of a beat on a memory port."""
LOADS = (Opcode.LOAD_IMAGE, Opcode.LOAD_RESIDUAL)
LOGIT_BANKS = 4


@dataclass(frozen=True)
class Ddr:
    """The external memory, as the rtl device's MemoryModel has it.

    latency         cycles from a burst's acceptance to its first beat
    gigabytes       bandwidth in all, 1e9 bytes a second
    port_gigabytes  bandwidth of a port of the DDR controller; each read port has its own up to two,
                    a third and a fourth share one
    """

    latency: int = 150
    gigabytes: float = 12.0
    port_gigabytes: float = 8.5


DDR = Ddr()


class Operation(NamedTuple):
    """What of a descriptor takes time; fields as in the descriptor.

    paces  LINEAR: mean cycles between tiles in groups of 8-bit and of 4-bit rows, or None for what
           randomly chosen rows have on average
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
    paces: tuple[float, float] | None = None


class Timing:
    """Latencies of an overlay's pipelines in cycles, sizes of its buffers, and what the memory
    grants. The constants are read off the RTL and checked against it."""

    # Between an operation's end and the next one's begin: it is reported, then its unit is free.
    GAP = 2
    # From START to the first operation's begin, beyond the memory's latency (request, four beats,
    # the range check), and from there to the second one's, if it need not wait for the first.
    FIRST, CHECK = 27, 20
    # LINEAR: from its begin to its first step, and to its first row's parameters; a table comes
    # before those. Behind another operation on the array: from that one's last step to its first.
    STEP, ROWS, TABLE, BEHIND = 6, 4, 65, 3
    # From a tile's last step to its first drained slot, beyond the dot cells; and from its last
    # slot to the end: digits joined, bias, requantisation, writeback, report.
    ARRAY, RESULT = 6, 20
    # Most groups in a block, and groups whose row parameters are held.
    BLOCK, GROUPS = 8, 16
    # An operation is handed over this long after the one before it at the earliest.
    HAND = 12
    # LAYERNORM: what the pipelines take beyond the passes, and a tile's roots beyond its tokens.
    NORM, ROOT = 46, 14
    # ATTENTION: from the accumulators to the softmax, through its numerators, its reciprocals.
    SCORED, EXPONENT, RECIPROCAL = 4, 6, 6
    # LOAD and STORE beyond beats and latency; END and the run's end beyond a write's latency.
    LOAD, STORE, END, CLOSE = 20, 9, 9, 6
    # A memory access beyond the memory's latency.
    ACCESS = 14
    # Beats of row parameters that are buffered; operations whose parameters are known ahead.
    ROW_BEATS, QUEUE = 512, 16
    # Beats of tables and descriptors that go before the loads, where there is a second port.
    AHEAD = 40
    # Most beats and bursts under way on a port, and beats of a burst.
    FLIGHT, BURSTS, BURST = 256, 16, 32

    def __init__(self, overlay: Overlay, ddr: Ddr) -> None:
        o = self.overlay = overlay
        self.latency = ddr.latency
        self.lanes = min(max(o.depth // 4, 2), 8)  # digit rows a cycle through the epilogue
        self.slots = o.rows // self.lanes
        # Keys a cycle through the softmax: a score tile's between two of them, or more.
        self.exp_rows = max(8 if o.depth >= 32 else o.depth // 8, o.rows * o.depth // 128)
        dot_cells = 7 + ((o.depth // 4 - 1).bit_length() + 1) // 2
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
        beat = o.clock_mhz * 1e6 * BEAT / 1e9  # a beat a cycle, in GB/s
        burst = self.part if ports > 1 else self.BURST
        flight = min(self.FLIGHT + burst / 2, self.BURSTS * burst)
        self.port_rate = min(
            1.0,
            ddr.port_gigabytes / beat / (2 if ports > 3 else 1),
            flight / (ddr.latency + self.ACCESS),
        )
        self.memory_rate = ddr.gigabytes / beat
        self.ports = ports
        # Of a port when all that load are at work.
        self.rate = min(self.port_rate, self.memory_rate / max(ports, min(o.read_ports, 2)))

    def beat_cycles(self, rows: float) -> float:
        """Cycles from one array beat of weights to the next from memory, with `rows` beats of row
        parameters each."""
        port = self.part + (rows if self.shared else 0)
        return max(port / self.port_rate, (self.part * self.ports + rows) / self.memory_rate)

    def delivered(self, cycles: float, rows: float) -> float:
        """Array beats that come from memory in so many cycles beside `rows` of row parameters."""
        port = cycles * self.port_rate - (rows if self.shared else 0)
        return min(port, (cycles * self.memory_rate - rows) / self.ports) / self.part


def weight_beats(overlay: Overlay, w: Operation) -> int:
    """Array beats of weights that an operation reads."""
    if w.opcode != Opcode.LINEAR:
        return 0
    return -(-(w.outputs + w.rows8) // overlay.rows) * (w.inputs // overlay.depth)


def parameter_beats(w: Operation) -> int:
    """Beats of parameters that an operation reads."""
    if w.opcode == Opcode.LINEAR:
        return w.outputs
    if w.opcode == Opcode.LAYERNORM:
        return w.inputs // 8
    return (w.heads + 1) // 2  # none but of ATTENTION


# ---- LINEAR


class Start(NamedTuple):
    """How a LINEAR finds things when it may issue its first step, in cycles from then.

    lead    for so long its weights have been passing into the ring
    filing  when the filing of its row parameters begins: negative when they run ahead
    """

    lead: float
    filing: float


def linear(
    t: Timing, w: Operation, stock: float, rows: int, lag: int, start: Start
) -> tuple[float, int]:
    """(cycles to the last step, array beats of weights) of a LINEAR that finds `stock` of them in
    the buffers, while `rows` beats of row parameters are read too and the first beat from memory is
    `lag` cycles away.

    Groups follow each other by the longest of: all tiles' steps or drains; the weights' way from
    buffer to array; a beat of parameters a row, filed from start.filing on. The order of tiles and
    groups within a block changes nothing of that.
    """
    o = t.overlay
    steps, tiles = w.inputs // o.depth, -(-w.tokens // o.tokens)
    groups = -(-(w.outputs + w.rows8) // o.rows)
    beats = groups * steps
    pace8, pace4 = w.paces or _expected_paces(t, w)
    slow, first = t.beat_cycles(0.0), t.beat_cycles(float(rows)) - t.beat_cycles(0.0)

    def arrival(beat: float) -> float:
        # Row parameters go first.
        late = lag + first + (beat - stock) * slow if beat > stock else 0.0
        return max(t.fast * (beat - 1) - start.lead, late)

    wide = min(groups, round(2 * w.rows8 / o.rows))
    now = max(arrival(steps), steps - 1.0)
    done, filed, last = 0, start.filing, now
    for count, each, pace in ((wide, o.rows // 2, pace8), (groups - wide, o.rows, pace4)):
        if not count:
            continue
        others = (tiles - 1) * pace
        period = tiles * pace
        if done:  # from the last group of the other kind
            now = max(now, arrival((done + 1) * steps))
        now = max(now, filed + min(each, w.outputs))
        done += count
        filed += count * each
        now = max(now + (count - 1) * period, arrival(done * steps), filed)
        last = now + others
        now += period
    return last + 1, beats


def drained(t: Timing, w: Operation) -> int:
    """Cycles from a LINEAR's last step to the end of its last result."""
    left = (w.outputs + w.rows8 - 1) % t.overlay.rows + 1
    return t.array + t.RESULT - (-left // t.lanes)


def _expected_paces(t: Timing, w: Operation) -> tuple[float, float]:
    steps = w.inputs // t.overlay.depth
    if steps >= t.overlay.rows:
        return float(steps), float(steps)
    share = round(64 * w.rows8 / w.outputs)
    return _pace(t, steps, t.lanes // 2, share), _pace(t, steps, t.lanes, 64 - share)


@lru_cache(maxsize=8192)
def _pace(t: Timing, steps: int, rows: int, share: int) -> float:
    """Mean of max(steps, cost of a group) when a slot's `rows` rows are neighbours among a random
    share / 64 of all channels.

    j rows further on, the channel is d higher with probability C(d-1, j-1) p^j (1-p)^(d-j): a clash
    where d is a multiple of DEPTH. Clashes are taken as independent.
    """
    p, depth = share / 64, t.overlay.depth
    clashes = 0.0
    if 0 < p < 1:
        for j in range(1, rows):
            for d in range(depth, 40 * depth, depth):
                chance = math.comb(d - 1, j - 1) * p**j * (1 - p) ** (d - j)
                clashes += (rows - j) * chance
    q = 1 - math.exp(-clashes)
    return sum(
        math.comb(t.slots, k)
        * q**k
        * (1 - q) ** (t.slots - k)
        * max(steps, t.slots + k * (t.lanes - 1))
        for k in range(t.slots + 1)
    )


# ---- LAYERNORM and ATTENTION


@lru_cache(maxsize=4096)
def layernorm(t: Timing, tokens: int, channels: int) -> float:
    """A LAYERNORM alone: two passes of 4 cycles a word, the second one tile behind the first; tiles
    follow each other no faster than their roots come out."""
    o = t.overlay
    words, tiles = channels // o.depth, -(-tokens // o.tokens)
    passing = 4 * words
    period = max(passing, 4 * -(-(t.ROOT + o.tokens) // 4))
    return passing + (tiles - 1) * period + passing + t.NORM + o.tokens


class Flow(NamedTuple):
    """A LINEAR beside a LAYERNORM: steps (or drain) of a tile in a group, and how many groups share
    the pass over the tokens."""

    pace: float
    groups: int


def flow(t: Timing, w: Operation, last: bool) -> Flow:
    """Of a LINEAR's last or first block."""
    steps = w.inputs // t.overlay.depth
    groups = -(-(w.outputs + w.rows8) // t.overlay.rows)
    paces = w.paces or _expected_paces(t, w)
    size = max(1, min(t.BLOCK, t.ring // 2 // steps, groups))
    if last:
        size = groups % size or size
    return Flow(max(steps, paces[1 if last else 0]), size)


@lru_cache(maxsize=4096)
def layernorm_between(
    t: Timing, tokens: int, channels: int, before: Flow, after: Flow | None
) -> tuple[float, float]:
    """(end, stall) of a LAYERNORM that works in the shadow of the LINEARs before and after it: its
    end counted from the last step of the one before, and what the one after waits for its tiles.

    A tile is normalised once it is written. The lanes are the drain's first: of a group's pace it
    takes ROWS / LANES cycles.
    """
    o = t.overlay
    words, tiles = channels // o.depth, -(-tokens // o.tokens)
    passing = 4.0 * words
    least = max(passing, 4 * -(-(t.ROOT + o.tokens) // 4))
    written = t.array + t.slots + t.RESULT
    behind = passing + t.ROOT + o.tokens + 12  # from a tile's first word to its statistics
    share = [1 - min(0.9, t.slots / before.pace), 1.0]
    if after:
        share[1] = 1 - min(0.9, t.slots / after.pace)
    now = issue = -math.inf
    free = 0.0
    for tile in range(tiles):
        there = written - (tiles - 1 - tile) * before.pace * before.groups
        begin = max(now, there + behind)
        busy = share[0] if begin < 0 else share[1]
        now = max(begin + passing / busy, now + least)
        if after:
            ready = max(now + t.RESULT + 3, float(t.BEHIND))
            issue = max(issue, ready) + after.pace * after.groups
    end = now + t.RESULT
    if after:
        free = issue - t.BEHIND - tiles * after.pace * after.groups
    return end, max(0.0, free)


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
        ready[i] = run + blocks + t.EXPONENT
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
    return now + t.array + t.slots + t.RESULT


class _Fill:
    """Copies of K and V to the weight memory, which has room for two heads: job 2h is K of head h,
    2h + 1 its V. Time only moves on."""

    WRITTEN = 4  # from a word's read to its use

    def __init__(self, copies: tuple[int, int], heads: int, begin: float) -> None:
        self.copies, self.jobs = copies, 2 * heads
        self.now, self.left = begin, float(copies[0])
        self.releases: list[float] = []
        self.done: list[float] = []

    def release(self, now: float) -> None:
        """A head's room is free from now on."""
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
        """The array reads activations."""
        self.advance(begin)
        self.now = max(self.now, end)

    def until(self, job: int) -> float:
        """When a job is done if nothing comes in its way from here on."""
        while len(self.done) <= job:
            self._finish()
        return self.done[job]

    def _finish(self) -> None:
        self.now += self.left
        self.done.append(self.now + self.WRITTEN)
        self.left = float(self.copies[len(self.done) % 2])


# ---- Loads and stores


def loads(
    t: Timing, loads: Sequence[Operation], begins: Sequence[float], rows: int
) -> tuple[list[float], float]:
    """(ends of one load, or of two that overlap; beats of the weights' busiest port meanwhile).

    At the program's begin `rows` beats of row parameters are read ahead through port 0, before the
    rest. The image goes before the position values, except for as many of those as are asked for
    at once, because they start first and have room.
    """
    o = t.overlay
    last = o.read_ports - 1
    beats, spans, ports = {}, {}, {}
    for w in loads:
        image = w.opcode == Opcode.LOAD_IMAGE
        lanes = t.streams if image else t.load_lanes
        count = (w.image_size if image else w.tokens) * _row(w) / lanes
        used = {0 if image else last} if lanes == 1 else {0, last}
        beats[w.opcode] = count * lanes / len(used)  # on each of its ports
        # A beat of the image is two words at DEPTH 8.
        spans[w.opcode] = count * max(2 if image and o.depth == 8 else 1, 1 / _burst_rate(t, w))
        ports[w.opcode] = used
    residual = beats.get(Opcode.LOAD_RESIDUAL, 0.0)
    first = max(
        (t.BURSTS * _burst(w) for w in loads if w.opcode == Opcode.LOAD_RESIDUAL), default=0.0
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
        alone = max(spans[w.opcode], beats[w.opcode] / t.rate)
        ends.append(begin + t.latency + t.LOAD + before / t.rate + alone)
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
    """Beats a cycle of a load: only so many bursts are under way, and one is asked for in four
    cycles."""
    burst = _burst(w)
    return min(t.rate, t.BURSTS * burst / (t.latency + t.ACCESS), burst / 4)


def store(t: Timing, w: Operation) -> float:
    """Four logits, or a beat of at most 16 bytes of an on-chip word, a cycle."""
    if w.mode == Source.LOGITS:
        units: float = -(-w.outputs // 4)
    else:
        word = t.overlay.depth * (1 if w.mode == Source.ACT else 2)
        units = w.tokens * (w.inputs // t.overlay.depth) * max(1, word // BEAT)
    return units + t.STORE
