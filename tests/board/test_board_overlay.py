"""Nothing runs on an accelerator that is not the overlay's, and the message says what to do."""

import re
import shutil
from dataclasses import replace

import pytest

from quasar_runtime.bitstream import block_design as design
from quasar_runtime.bitstream import handoff as hwh
from quasar_runtime.bitstream import package as overlay_package
from quasar_runtime.devices.board.device import BoardDevice
from quasar_runtime.errors import DeviceError, DeviceNotFound, OverlayError
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.resources import data_folder
from tests.board.cases import place

pynq = pytest.importorskip("pynq", reason="pynq is not installed here; `make pynq` tests with it")
pynq_sim = pytest.importorskip("quasar_runtime.devices.board_sim")
processor = pytest.importorskip("quasar_runtime.devices.board_sim.processor")
pytestmark = pytest.mark.board
B64 = load_overlay("b64")


def refused(match, error=OverlayError):
    """Opening is refused, and the board left free."""
    with pytest.raises(error, match=match) as caught:
        BoardDevice("b64")
    return str(caught.value)


def rewrite_handoff(change):
    """Change the package's handoff, checksums made right again."""
    folder = data_folder("overlays") / "b64"
    path = folder / "b64.hwh"
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    overlay_package.write_checksums(folder)


# --- registers


@pytest.mark.parametrize(
    ("register", "value", "shown", "expected"),
    [
        ("IDENTITY", 0xDEADBEEF, "0xdeadbeef", "0x51554153"),
        ("VERSION", 0x0002_0000, r"2\.0", r"1\.0"),
        ("VERSION", 0x0000_0009, r"0\.9", r"1\.0"),
        ("ARRAY", 4 | 16 << 8 | 16 << 16, "4 x 16 x 16", "2 x 4 x 8"),
        ("ACT_WORDS", 1, "1", str(B64.act_words)),
        ("RES_WORDS", 1, "1", str(B64.res_words)),
        ("LOGITS", 7, "7", str(B64.logits)),
        ("CLOCK_KHZ", 150_000, "150000", "300000"),
        ("PORTS", 4, "4", str(B64.read_ports)),
    ],
)
def test_another_accelerator_is_refused_with_both_values(board, register, value, shown, expected):
    board.faults.registers[register] = value
    message = refused(f"register {register} reads {shown}, overlay 'b64' has {expected};")
    assert "quasar overlays verify b64" in message
    board.faults.registers.clear()
    with BoardDevice("b64") as device:
        place(device, 0).run()


def test_a_later_minor_version_of_the_interface_is_accepted(board):
    board.faults.registers["VERSION"] = 0x0001_0007
    BoardDevice("b64").close()


def test_identity_comes_first_and_nothing_is_written_to_another_accelerator(board, monkeypatch):
    accesses = []

    def spy(kind, real):
        def access(address, value):
            accesses.append((kind, address))
            return real(address, value)

        return access

    for kind in ("read", "write"):
        name = f"{kind}_registers"
        monkeypatch.setattr(board, name, spy(kind, getattr(board, name)))
    board.faults.registers["IDENTITY"] = 0
    refused("register IDENTITY reads 0x0,")
    end = design.REGISTERS_BASE + 2 * design.REGISTERS_RANGE
    fabric = [a for a in accesses if design.REGISTERS_BASE <= a[1] < end]
    assert fabric == [("read", design.REGISTERS_BASE)]


# --- the package


def test_a_bitstream_of_other_parameters_is_refused(board):
    board.faults.registers |= {"ARRAY": 4 | 16 << 8 | 16 << 16}
    refused("register ARRAY reads 4 x 16 x 16, overlay 'b64' has 2 x 4 x 8")


def test_a_handoff_of_other_parameters_is_refused_before_any_access(board, monkeypatch):
    rewrite_handoff(lambda _: hwh.generate(replace(B64, rows=8, name="b128")))
    monkeypatch.setattr(board.accelerator, "read", pytest.fail)
    refused(r"b64\.hwh: ROWS is 8, overlay\.json of 'b64' has 4;.* do not belong together")


def test_a_handoff_with_other_registers_is_refused_before_any_access(board, monkeypatch):
    rewrite_handoff(lambda text: text.replace('VALUE="0x24"', 'VALUE="0x28"', 1))
    monkeypatch.setattr(board.accelerator, "read", pytest.fail)
    refused(r"register STATUS is at 0x28, this runtime has it at 0x24 \(interface 1\.0\)")


def test_a_handoff_that_lacks_a_register_is_refused(board):
    rewrite_handoff(lambda text: text.replace('NAME="TIMEOUT"', 'NAME="PATIENCE"', 1))
    refused("register TIMEOUT is missing, this runtime has it at 0x4c")


def test_a_handoff_without_the_accelerator_is_refused(board):
    rewrite_handoff(lambda text: text.replace(design.ACCELERATOR_VLNV, "some:other:ip:1.0"))
    refused(r"b64\.hwh has 0 accelerators \(quasar_vit:accelerator:quasar:\*\), expected 1")


def test_stale_metadata_in_pynq_is_noticed(board, monkeypatch):
    """PYNQ's cache is keyed on the .bit alone: it has given another handoff's addresses."""
    real = board.get_bitfile_metadata

    def stale(name, partial=False):
        parser = real(name, partial)
        parser.ip_dict[design.ACCELERATOR]["phys_addr"] = 0xB000_0000
        return parser

    monkeypatch.setattr(board, "get_bitfile_metadata", stale)
    refused("at 0xb0000000 .*at 0xa0000000; PYNQ's metadata cache is stale: delete")


def test_a_handoff_without_interrupt_is_polled(board):
    pins = re.compile(r'<CONNECTION INSTANCE="axi_intc_0" PORT="intr" />')
    rewrite_handoff(lambda text: pins.sub("", text.replace(
        '<CONNECTION INSTANCE="quasar_0" PORT="irq" />', "")))  # fmt: skip
    with BoardDevice("b64") as device:
        assert "the handoff connects no interrupt" in device.describe()["interrupt"]
        place(device, 0).run()


def test_a_handoff_that_is_none_is_refused(board):
    rewrite_handoff(lambda _: "<EDKSYSTEM")
    refused(r"PYNQ could not load .*b64\.bit \(ParseError: ", DeviceError)


@pytest.mark.parametrize("suffix", ["bit", "hwh"])
def test_a_damaged_file_is_refused_before_it_is_loaded(board, suffix):
    path = data_folder("overlays") / "b64" / f"b64.{suffix}"
    path.write_bytes(path.read_bytes() + b" ")
    refused(rf"b64\.{suffix} has the SHA-256 .*the file is damaged")
    assert board.downloads == 0


def test_an_overlay_without_a_bitstream_says_how_to_get_one(board):
    with pytest.raises(OverlayError, match=r"'b1024' has no bitstream .* `quasar overlays build"):
        BoardDevice("b1024")


def test_without_any_bitstream_the_default_overlays_is_asked_for(board):
    for path in data_folder("overlays").glob("*/*.bit"):
        path.unlink()
    with pytest.raises(OverlayError, match=r"no overlay has a bitstream: .* build b1024"):
        BoardDevice()


def test_the_default_overlay_wins_where_several_have_a_bitstream(board):
    source, target = (data_folder("overlays") / name for name in ("b64", "b1024"))
    for suffix in ("bit", "hwh"):
        shutil.copy(source / f"b64.{suffix}", target / f"b1024.{suffix}")
    overlay_package.write_checksums(target)
    with pytest.raises(OverlayError, match=r"overlay\.json of 'b1024'"):
        BoardDevice()


def test_parameters_that_no_bitstream_has_are_refused(board):
    with pytest.raises(OverlayError, match="other parameters than the overlay 'b64'"):
        BoardDevice(replace(B64, act_words=8192))
    BoardDevice(B64).close()


# --- clock, PYNQ


def test_a_clock_that_pynq_set_wrong_is_set_right():
    """The handoff's divisors are the IOPLL's; PYNQ 3 writes them whatever the PLL is."""
    with pynq_sim.simulated_board("b64", clock_source="RPLL"), BoardDevice("b64") as device:
        found = float(device.describe()["pl_clk0"].split()[0])
        assert found == pytest.approx(100, rel=0.005)


def test_nothing_runs_on_a_clock_that_is_wrong():
    with pynq_sim.simulated_board("b64") as board:
        board.processor.stuck = True
        message = refused(r"pl_clk0 runs at 149\.\d* MHz, the overlay needs 100; nothing was run")
        assert "firmware" in message


def test_memory_ports_are_made_as_wide_as_the_accelerator_takes_them_for(board):
    base = processor.AFIFM + design.saxi_gp(0) * 0x1_0000
    assert board.processor.read(base) & 3 == processor.WIDTH_64
    with BoardDevice("b64"):
        for offset in (processor.RDCTRL, processor.WRCTRL):
            assert board.processor.read(base + offset) == 0x3B0


def test_nothing_runs_through_a_port_that_stays_narrow(board):
    base = processor.AFIFM + design.saxi_gp(0) * 0x1_0000
    real = board.processor.read
    board.processor.read = lambda a: 0x3B1 if a == base else real(a)
    refused("port HP0 is not 128 bits wide .register 0xfd380000 reads 0x3b1.*nothing was run")


@pytest.mark.parametrize(
    "error", [RuntimeError("No Devices Found"), NameError("name 'pyxrt' is not defined")]
)
def test_without_a_board_pynq_says_so(board, monkeypatch, error):
    class NoDevice:
        @property
        def active_device(self):
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(pynq, "Device", NoDevice())
        refused(
            rf"PYNQ finds no board \({type(error).__name__}: {error}\).*XILINX_XRT", DeviceNotFound
        )


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (PermissionError("Root permissions required."), "Root permissions required.; .* sudo -E"),
        (OSError("fpga_manager"), "PYNQ could not load .*OSError: fpga_manager"),
    ],
)
def test_a_bitstream_that_cannot_be_loaded_leaves_the_board_free(board, monkeypatch, error, match):
    def fail(*_):
        raise error

    monkeypatch.setattr(board, "download", fail)
    refused(match, DeviceError)
    monkeypatch.undo()
    BoardDevice("b64").close()
