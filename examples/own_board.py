"""Bring your own board: a table in a file of yours, of the form of fedtiny/devices/catalog.toml."""

from pathlib import Path

from fedtiny.config import RunConfig, parse

BOARD = """
[wrist_band]
title = "Our wrist band, revision C"
core = "Arm Cortex-M7"
flash_kib = 2048
ram_internal_kib = 512
ram_external_kib = 8192
clock_mhz = 400
training_share = 0.25
sources = { ram_external = "its circuit diagram, page 2" }
"""


def my_run(folder: Path) -> RunConfig:
    """The demo's eight people, half of them with an ESP32-S3, half with our board."""
    (folder / "boards.toml").write_text(BOARD, encoding="utf-8")
    fleet = ["esp32_s3", "wrist_band"]
    return parse({"devices": {"fleet": fleet, "catalog": str(folder / "boards.toml")}})
