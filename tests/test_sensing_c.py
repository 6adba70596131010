"""The C that reads a sensor line by line: equal to Python byte for byte, clean, on a board too."""

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedtiny import toolchain
from fedtiny.boards import qemu
from fedtiny.boards.native.library import RUNTIME, STRICT_FLAGS, compile_library
from fedtiny.boards.native.sensor import SensorReader
from fedtiny.boards.native.types import KernelError
from fedtiny.sensing.box import Box
from fedtiny.sensing.pixels import digitised, pooled
from fedtiny.sensing.scaling import scaled
from fedtiny.sensing.sensor import Sensor

SOURCES = sorted((RUNTIME / "src").glob("fedtiny_sensor_*.c"))
PROGRAM = Path(__file__).parent / "sensor_cases.c"


@dataclass(frozen=True)
class Case:
    sensor: Sensor
    grey: bool
    box: Box
    size: tuple[int, int]
    seed: int

    @property
    def light(self):
        """Dark, bright and half-way cells among others, so that roundings are met."""
        sensor = self.sensor
        shape = (sensor.height, sensor.width, sensor.channels)
        rng = np.random.default_rng(self.seed)
        light = rng.integers(0, 2**16, shape)
        light[rng.random(shape) < 0.1] = 65_535
        return light.astype(np.uint16)

    def expected(self):
        box, bits = self.box, self.sensor.bits
        image = digitised(self.light[box.y : box.bottom, box.x : box.right], bits)
        frame = digitised(pooled(self.light, self.sensor.poolings[0], self.grey), bits)
        return frame, image, scaled(image, self.size, self.grey)


@st.composite
def cases(draw):
    k = draw(st.sampled_from([1, 2, 3, 4, 8]))
    width, height = (k * draw(st.integers(1, 40 // k)) for _ in range(2))
    sensor = Sensor(width, height, draw(st.integers(1, 4)), draw(st.integers(1, 8)), (k,))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = Box(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return Case(sensor, draw(st.booleans()), box, size, draw(st.integers(0, 2**32)))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    flags = [*STRICT_FLAGS, "-O2", f"-I{RUNTIME / 'include'}"]
    return compile_library(tmp_path_factory.mktemp("sensor"), SOURCES, flags)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=cases())
def test_c_equals_python(library, case):
    reader = SensorReader(library, case.sensor, case.light)
    frame, image, small = case.expected()
    pooling = case.sensor.poolings[0]
    assert np.array_equal(reader.read_pooled(pooling, case.grey), frame)
    assert reader.rows == list(range(case.sensor.height))
    assert np.array_equal(reader.read_roi(case.box), image)
    assert reader.rows == list(range(case.box.y, case.box.bottom))
    assert np.array_equal(reader.read_roi_scaled(case.box, case.size, case.grey), small)
    assert reader.rows == list(range(case.box.y, case.box.bottom))


def test_the_largest_sums_fit(library):
    """All at full scale: any overflow would darken a cell."""
    sensor = Sensor(2048, 2048, 4, 8, (64,))
    white = np.full((2048, 2048, 4), 65_535, np.uint16)
    reader = SensorReader(library, sensor, white)
    assert np.all(reader.read_pooled(64, True) == 255)
    assert np.all(reader.read_roi_scaled(Box(0, 0, 2048, 2048), (1, 1), True) == 255)
    wide = SensorReader(library, Sensor(2049, 2048, 1), white[:, :, :1])
    with pytest.raises(KernelError, match="returned -1"):
        wide.read_roi_scaled(Box(0, 0, 2049, 2048), (1, 1), True)


CASE = Case(Sensor(24, 16, 3, 8, (4,)), False, Box(3, 5, 9, 7), (6, 6), 1)


def record(case, rows=None, statuses=(0, 0, 0)):
    """A case as ``sensor_cases.c`` reads it."""
    sensor, box, size = case.sensor, case.box, case.size
    outputs = [x if s == 0 else x[:0] for x, s in zip(case.expected(), statuses, strict=True)]
    fixed = [
        *(sensor.width, sensor.height, sensor.channels, sensor.bits),
        *(sensor.poolings[0], case.grey, box.x, box.y, box.width, box.height),
        *(size[1], size[0], sensor.height if rows is None else rows),
        *statuses,
        *(output.size for output in outputs),
    ]
    arrays = (case.light, *outputs)
    return np.array(fixed, "<i4").tobytes() + b"".join(map(np.ndarray.tobytes, arrays))


def case_file():
    """Frames of many shapes; a callback that ends in the box, and before it."""
    rng = np.random.default_rng(0)
    records = []
    for seed in range(24):
        k = int(rng.choice([1, 2, 3, 8]))
        sensor = Sensor(k * 5, k * 4, int(rng.integers(1, 5)), int(rng.integers(1, 9)), (k,))
        box = Box(1, 2, sensor.width - 1 - k // 2, sensor.height - 2)
        size = (int(rng.integers(1, 29)), int(rng.integers(1, 29)))
        records.append(record(Case(sensor, bool(seed % 2), box, size, seed)))
    records.append(record(CASE, rows=8, statuses=(-3, -3, -3)))
    records.append(record(CASE, rows=12, statuses=(-3, 0, 0)))
    records.append(record(replace(CASE, size=(1, 1)), rows=0, statuses=(-3, -3, -3)))
    return b"".join(records), len(records)


def test_clean_under_sanitizers(tmp_path):
    content, number = case_file()
    (tmp_path / "cases").write_bytes(content)
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *STRICT_FLAGS, "-O1", "-g", *sanitizers, f"-I{RUNTIME / 'include'}"]
    sources = map(str, (*SOURCES, PROGRAM))
    toolchain.run_tool([*command, *sources, "-o", "sensor_cases"], tmp_path, 120)
    done = toolchain.run_tool([str(tmp_path / "sensor_cases")], tmp_path, 60)
    assert done.stdout == f"{number} cases, 0 mismatches\n"


@pytest.mark.firmware
@pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))),
    reason="needs arm-none-eabi-gcc and qemu-system-arm: make firmware-test",
)
def test_the_same_on_an_emulated_board(tmp_path):
    content, number = case_file()
    (tmp_path / "cases").write_bytes(content)
    target = qemu.machine("qemu-m4")
    flags = ["-DFEDTINY_BOARD"]
    program = qemu.build(
        target, [*SOURCES, PROGRAM], tmp_path, include=[RUNTIME / "include"], flags=flags
    )
    assert qemu.run(target, program, tmp_path) == f"{number} cases, 0 mismatches\n"


@pytest.mark.parametrize(
    ("change", "value"),
    [("width", 0), ("height", 70_000), ("channels", 5), ("bits", 9), ("bits", 0), ("channels", 0)],
)
def test_a_sensor_out_of_range_is_refused(library, change, value):
    reader = SensorReader(library, CASE.sensor, CASE.light)
    setattr(reader.structure, change, value)
    for call in (
        lambda: reader.read_pooled(4, False),
        lambda: reader.read_roi(CASE.box),
        lambda: reader.read_roi_scaled(CASE.box, (6, 6), False),
    ):
        with pytest.raises(KernelError, match=r"returned -1"):
            call()
        assert reader.rows == []


@pytest.mark.parametrize("box", [(20, 0, 5, 1), (0, 16, 1, 1), (0, 0, 1, 17), (0, 0, 0, 1)])
def test_a_box_outside_is_refused(library, box):
    reader = SensorReader(library, CASE.sensor, CASE.light)
    outside = Box(0, 0, 1, 1)
    for name, number in zip(("x", "y", "width", "height"), box, strict=True):
        object.__setattr__(outside, name, number)
    for call in (reader.read_roi, lambda b: reader.read_roi_scaled(b, (6, 6), False)):
        with pytest.raises(KernelError, match=r"returned -1"):
            call(outside)


def test_scratch_that_is_too_small_and_a_pooling_that_does_not_divide_are_refused(library):
    reader = SensorReader(library, CASE.sensor, CASE.light)
    for pooling in (0, 5, 3, 65):
        with pytest.raises(KernelError, match=r"returned -1"):
            reader.read_pooled(pooling, False, scratch_bytes=4096)
    for call in (
        lambda: reader.read_pooled(4, False, scratch_bytes=4 * 6 * 3 - 1),
        lambda: reader.read_roi_scaled(CASE.box, (6, 6), True, scratch_bytes=2 * 4 * 6 - 1),
    ):
        with pytest.raises(KernelError, match=r"returned -1"):
            call()


def test_the_readme_names_every_function():
    readme = (RUNTIME / "README.md").read_text(encoding="utf-8")
    header = (RUNTIME / "include" / "fedtiny_sensor.h").read_text(encoding="utf-8")
    names = set(re.findall(r"\bfedtiny_sensor_read_\w+", header))
    assert {name for name in names if not name.endswith("_size")} <= set(re.findall(r"\w+", readme))
