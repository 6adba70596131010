"""The catalogue of boards and the fleets made from it."""

import re
import subprocess
import sys

import pytest

from fedtiny.devices.catalog import catalog, get
from fedtiny.errors import FedTinyError

BOARDS = list(catalog().values())
MIB = 1024 * 1024


def test_there_are_at_least_eight_boards_of_each_use():
    assert sum(board.runs for board in BOARDS) >= 8
    assert sum(board.trains for board in BOARDS) >= 5


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_number_has_a_source_and_no_source_lacks_a_number(board):
    numbers = {
        "flash": board.flash_bytes,
        "ram_internal": board.ram_internal_bytes,
        "ram_external": board.ram_external_bytes,
        "clock": board.clock_hz,
        "uplink": board.uplink,
        "sustained": board.sustained_flops,
    }
    assert set(board.sources) == {name for name, number in numbers.items() if number}
    assert all(len(source) > 20 for source in board.sources.values())


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_who_trains_has_a_speed_and_it_is_said_that_nobody_measured_it(board):
    assert (board.sustained_flops is not None) == board.trains
    if board.sustained_flops is not None:
        per_cycle = float(
            re.match(r"assumed: ([0-9.]+) FLOP a cycle", board.sources["sustained"])[1]
        )
        assert board.sustained_flops == pytest.approx(per_cycle * board.clock_hz)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_training_leaves_most_external_or_a_quarter_of_internal_ram_alone(board):
    if board.ram_external_bytes:
        assert 0 < board.training_budget_bytes <= board.ram_external_bytes // 4
    else:
        assert board.training_budget_bytes <= board.ram_internal_bytes * 3 // 4
        assert board.trains == (board.name == "stm32h743")


@pytest.mark.parametrize(
    ("name", "flash", "ram_internal", "ram_external", "budget"),
    [
        ("nrf52840", 1 * MIB, 256 * 1024, 0, 0),
        ("nrf5340", 1 * MIB, 512 * 1024, 0, 0),
        ("rp2350", 4 * MIB, 520 * 1024, 0, 0),
        ("stm32n6570_dk", 128 * MIB, 4101 * 1024, 32 * MIB, 8 * MIB),
        ("stm32h743", 2 * MIB, MIB, 0, 768 * 1024),
        ("esp32_s3", 8 * MIB, 512 * 1024, 8 * MIB, 2 * MIB),
        ("stm32f746g_disco", 1 * MIB, 320 * 1024, 8 * MIB, 2 * MIB),
        ("pi_zero_2_w", None, 0, 512 * MIB, 32 * MIB),
        ("pi_5", None, 0, 4096 * MIB, 256 * MIB),
    ],
)
def test_sizes(name, flash, ram_internal, ram_external, budget):
    board = get(name)
    assert board.flash_bytes == flash
    assert board.ram_internal_bytes == ram_internal
    assert board.ram_external_bytes == ram_external
    assert board.training_budget_bytes == budget


def test_unknown_board_lists_the_known_ones():
    with pytest.raises(FedTinyError, match=r"unknown board 'esp32'; known: .*esp32_s3") as caught:
        get("esp32")
    assert all(name in str(caught.value) for name in catalog())


def test_catalogue_planner_and_doctor_import_neither_torch_nor_flower():
    code = (
        "import sys; import fedtiny.doctor.boards, fedtiny.doctor.environment; "
        "fedtiny.doctor.environment.check_environment(); "
        "sys.exit(bool({'torch', 'flwr', 'ray'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
