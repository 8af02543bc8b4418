"""Power is read rail by rail from a made-up sysfs; what is missing is null, never 0."""

import json
from pathlib import Path

import pytest

from quasar_runtime.measure.power import LOGIC, PROCESSOR, PowerMeter, read_power

CHIPS = [*PROCESSOR, *LOGIC]


def sensor(hwmon: Path, number: int, name: str, **files: object) -> Path:
    folder = hwmon / f"hwmon{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    for file, text in files.items():
        (folder / file).write_text(f"{text}\n")
    return folder


@pytest.fixture
def board(tmp_path):
    """The 18 monitors of a ZCU102, rail i at i + 1 watts, in an order of Linux's own."""
    for number, chip in enumerate(reversed(CHIPS)):
        watts = CHIPS.index(chip) + 1
        sensor(tmp_path, number, f"ina226_{chip}", power1_input=watts * 10**6, in1_input=850)
    return tmp_path


def test_every_rail_of_the_board_is_named_and_in_watts(board):
    power = read_power(board)
    assert list(power.rails) == [*PROCESSOR.values(), *LOGIC.values()]
    assert list(power.rails.values()) == [float(i + 1) for i in range(18)]
    assert power.rails["VCCINT"] == 11
    assert power.logic == sum(range(11, 19))
    assert power.board == sum(range(1, 19))


def test_a_rail_that_cannot_be_read_is_null_and_so_are_its_sums(board):
    broken = board / f"hwmon{CHIPS[::-1].index('u79')}" / "power1_input"
    broken.write_text("not a number\n")
    power = read_power(board)
    assert power.rails["VCCINT"] is None
    assert (power.logic, power.board) == (None, None)
    broken.unlink()
    broken.mkdir()  # reading it is an I/O error
    assert read_power(board).rails["VCCINT"] is None
    assert json.loads(json.dumps(read_power(board).as_dict()))["rails_w"]["VCCINT"] is None


def test_the_processors_rails_alone_say_nothing_of_the_board(tmp_path):
    for number, chip in enumerate(PROCESSOR):
        sensor(tmp_path, number, f"ina226_{chip}", power1_input=500_000)
    power = read_power(tmp_path)
    assert len(power.rails) == 10
    assert power.as_dict() == {
        "board_w": None,
        "logic_w": None,
        "rails_w": dict.fromkeys(PROCESSOR.values(), 0.5),
    }


def test_a_machine_without_sensors_has_no_power(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        power = read_power(folder)
        assert power.rails == {}
        assert (power.logic, power.board) == (None, None)


def test_other_sensors_are_listed_by_label_or_name_and_never_summed(board):
    sensor(board, 30, "irps5401", power1_input=2_000_000, power1_label="pout1", temp1_input=40)
    sensor(board, 31, "ina226-u44", power1_input=3_000_000)
    sensor(board, 32, "ina226_u44", power1_input=4_000_000)
    power = read_power(board)
    assert power.rails["pout1"] == 2
    assert {power.rails[name] for name in power.rails if name.startswith("ina226")} == {3, 4}
    assert power.board == sum(range(1, 19))


def test_the_meter_gives_the_mean_over_its_samples(board, monkeypatch):
    path = board / f"hwmon{CHIPS[::-1].index('u79')}" / "power1_input"
    path.write_text("5000000")
    meter = PowerMeter(board)

    def change(period):
        """Between the samples the power doubles; after three the meter is closed."""
        path.write_text(str(2 * int(path.read_text())))
        return len(meter._samples["VCCINT"]) == 3

    monkeypatch.setattr(meter._ended, "wait", change)
    with meter:
        meter._thread.join(20)
    assert meter.power.rails["VCCINT"] == pytest.approx((5 + 10 + 20) / 3)
    assert meter.power.rails["VCCBRAM"] == 12


def test_a_rail_that_failed_once_is_null(board, monkeypatch):
    path = board / f"hwmon{CHIPS[::-1].index('u81')}" / "power1_input"
    meter = PowerMeter(board)

    def fail(period):
        path.write_text("" if len(meter._samples["VCCBRAM"]) == 1 else "12000000")
        return len(meter._samples["VCCBRAM"]) == 3

    monkeypatch.setattr(meter._ended, "wait", fail)
    with meter:
        meter._thread.join(20)
    assert meter.power.rails["VCCBRAM"] is None
    assert meter.power.board is None
    assert meter.power.rails["VCCINT"] == 11


def test_the_meter_of_a_machine_without_sensors_starts_no_thread(tmp_path):
    with PowerMeter(tmp_path) as meter:
        assert not meter._thread.is_alive()
    assert meter.power.rails == {}
