"""docs/ops.md says what the passes take today."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from fedtiny.boards import qemu
from fedtiny.doctor import ops
from fedtiny.firmware.cores import CORES
from fedtiny.models.ops import OPS, Activation

PAGE = Path(__file__).parents[1] / "docs" / "ops.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == ops.page(), "run `make ops`"


def test_every_op_and_activation_is_asked_about():
    rows = list(ops.rows())
    assert {type(row.node) for row in rows} == set(OPS.values())
    assert {row.activation for row in rows} == set(Activation)


def test_every_core_has_an_emulated_board():
    assert {f"qemu-{name}" for name in CORES} == qemu.MACHINES.keys()
