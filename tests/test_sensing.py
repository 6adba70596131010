"""The sensor that pools: formulas against what is published, readings against the formulas."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.devices.catalog import get
from fedtiny.errors import FedTinyError
from fedtiny.sensing.box import Box, clipped, overlap
from fedtiny.sensing.camera import Camera
from fedtiny.sensing.pixels import FULL_SCALE, as_light, digitised, pooled, with_read_noise
from fedtiny.sensing.scaling import scaled
from fedtiny.sensing.sensor import Reading, Sensor, SensorError

SETTINGS = settings(max_examples=60, deadline=None)
SMALL = Sensor(16, 8, 3, 8, (1, 2, 4, 8))


def light_of(seed, sensor):
    shape = (sensor.height, sensor.width, sensor.channels)
    return np.random.default_rng(seed).integers(0, 2**16, shape).astype(np.uint16)


@pytest.mark.parametrize(
    ("frame", "box", "pooling", "gains"),
    [
        ((2560, 1920), 448, 8, (17.71, None)),
        ((640, 480), 112, 2, (3.44, 8.05)),
        ((640, 480), 112, 4, (9.68, 16.2)),
        ((640, 480), 112, 8, (17.7, 21.7)),
        ((640, 480), 112, 16, (22.4, 23.7)),
        ((320, 240), 32, 2, (3.8, 10.3)),
        ((320, 240), 32, 4, (13.2, 29.2)),
        ((320, 240), 32, 8, (34.5, 53.8)),
    ],
)
def test_gains_of_the_design(frame, box, pooling, gains):
    sensor = Sensor(*frame, 3, 8, (pooling,))
    for grey, gain in zip((False, True), gains, strict=True):
        if gain is not None:
            reading = Reading(sensor, pooling, grey, (Box(0, 0, box, box),))
            digits = len(str(gain).partition(".")[2])
            # The rows of the design differ in whether a box's 64 bits of coordinates count.
            found = {round(one, digits) for one in (reading.gain, reading.transfer_gain)}
            assert gain in found


def test_the_published_gain_and_peak():
    """HiRISE (DAC 2024): 17.7 times less data, at 2560 × 1920, k = 8, a box of 448²."""
    reading = Reading(Sensor(2560, 1920, 3, 8, (8,)), 8, False, (Box(0, 0, 448, 448),))
    assert reading.gain == pytest.approx(17.71, abs=0.01)
    assert reading.peak_gain == pytest.approx(24.5, abs=0.05)


def test_full_resolution_and_a_box_are_more_than_the_frame():
    reading = Reading(Sensor(320, 240), 1, False, (Box(0, 0, 32, 32),))
    assert reading.gain < 1
    assert reading.peak_gain == 1


@st.composite
def readings(draw):
    k = draw(st.sampled_from([1, 2, 3, 4, 8]))
    width, height = (k * draw(st.integers(1, 24 // k)) for _ in range(2))
    sensor = Sensor(width, height, draw(st.integers(1, 4)), draw(st.integers(1, 8)), (k,))
    corners = st.tuples(st.integers(0, width - 1), st.integers(0, height - 1))
    boxes = [
        Box(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))
        for x, y in draw(st.lists(corners, max_size=3))
    ]
    return Reading(sensor, k, draw(st.booleans()), tuple(boxes))


@SETTINGS
@given(readings(), st.integers(0, 2**32))
def test_what_is_counted_is_what_the_formulas_say(reading, seed):
    sensor = reading.sensor
    camera = Camera(sensor, light_of(seed, sensor), noise=0.01, seed=seed)
    frame = camera.read_pooled(reading.pooling, reading.grey)
    images = [camera.read_box(box) for box in reading.boxes]
    assert camera.sent_bits == reading.transfer_bits
    assert camera.conversions == reading.conversions
    assert camera.peak_bits == reading.peak_image_bits
    assert frame.shape == sensor.pooled_shape(reading.pooling, reading.grey)
    bits = sum(image.size for image in (frame, *images)) * sensor.bits
    assert reading.gain == pytest.approx(sensor.frame_bits / bits)
    # As modes.md has it: 1 / (c1 / (c k²) + f).
    c1 = 1 if reading.grey else sensor.channels
    f = Fraction(sum(b.area for b in reading.boxes), sensor.width * sensor.height)
    whole = Fraction(c1, sensor.channels * reading.pooling**2) + f
    assert reading.gain == pytest.approx(float(1 / whole))


@SETTINGS
@given(readings(), st.integers(0, 2**32))
def test_means_are_exact_with_halves_up(reading, seed):
    sensor, k = reading.sensor, reading.pooling
    light = light_of(seed, sensor)
    means = pooled(light, k, reading.grey)
    height, width, channels = means.shape
    for y, x, c in np.ndindex(height, width, channels):
        cell = light[y * k : y * k + k, x * k : x * k + k]
        values = cell if reading.grey else cell[..., c]
        exact = Fraction(int(values.sum(dtype=int)), values.size)
        assert means[y, x, c] == int(exact + Fraction(1, 2))


@SETTINGS
@given(st.integers(1, 8), st.integers(0, FULL_SCALE))
def test_a_code_is_the_nearest(bits, value):
    code = int(digitised(np.array([value], np.uint16), bits)[0])
    assert code == int(Fraction(value * (2**bits - 1), FULL_SCALE) + Fraction(1, 2))


def test_eight_bits_of_a_camera_stay_what_they_are():
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(digitised(as_light(codes), 8), codes)


@SETTINGS
@given(*[st.integers(1, 12)] * 5, st.booleans(), st.integers(0, 2**32))
def test_a_scaled_box_has_the_means_of_areas(height, width, rows, columns, channels, grey, seed):
    """Against repeating every pixel until cells are whole, then averaging."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 1 + channels % 4)).astype(np.uint8)
    found = scaled(image, (rows, columns), grey)
    fine = image.repeat(rows, axis=0).repeat(columns, axis=1).astype(np.int64)
    cells = fine.reshape(rows, height, columns, width, -1)
    sums = cells.sum(axis=(1, 3, 4) if grey else (1, 3)).reshape(rows, columns, -1)
    count = height * width * (image.shape[2] if grey else 1)
    assert np.array_equal(found, (2 * sums + count) // (2 * count))


def test_noise_is_of_its_size_seeded_and_before_the_converter():
    grey = np.full((120, 160, 3), 30_000, np.uint16)
    noisy = with_read_noise(grey, 0.02, np.random.default_rng(0))
    assert noisy.std() == pytest.approx(0.02 * FULL_SCALE, rel=0.02)
    assert noisy.mean() == pytest.approx(30_000, abs=20)
    sensor = Sensor(160, 120, 3, 4, (1, 8))
    first, again, other = (
        Camera(sensor, grey, 0.02, seed).read_pooled(1, False) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # One draw a conversion: averaged light has the converter's noise once, not averaged away.
    levels = with_read_noise(pooled(grey, 8, False), 0.02, np.random.default_rng(0))
    assert levels.std() == pytest.approx(0.02 * FULL_SCALE, rel=0.1)


def test_boxes_are_clipped_and_compared():
    assert clipped(-5, -5, 10, 10, (320, 240)) == Box(0, 0, 5, 5)
    assert clipped(320, 0, 10, 10, (320, 240)) is None
    assert clipped(-10, 5, 10, 10, (320, 240)) is None
    assert overlap(Box(0, 0, 4, 4), Box(0, 0, 4, 4)) == 1
    assert overlap(Box(0, 0, 4, 4), Box(4, 0, 4, 4)) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sensor(320, 240, 3, 8, (7,)), r"poolings: 7 .* divide 320 and 240"),
        (lambda: Sensor(320, 240, 3, 9), r"sensor.bits must be within 1 and 8, not 9"),
        (lambda: Sensor(320, 240, 3, 8, (4, 2)), "must ascend"),
        (lambda: SMALL.pooled_shape(5, False), "averages over k in 1, 2, 4, 8, not 5"),
        (lambda: Sensor(8, 8, grey=False).pooled_shape(1, True), "grey=False"),
        (lambda: SMALL.check(Box(10, 0, 7, 1)), "leaves the frame of 16 × 8"),
        (lambda: Camera(SMALL, np.zeros((4, 4, 3), np.uint16)), "the scene is"),
        (lambda: Box(-1, 0, 2, 2), "clip it first"),
        (lambda: Box(0, 0, 0, 2), "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(FedTinyError, match=message) as caught:
        make()
    assert isinstance(caught.value, SensorError) or message in ("clip it first", "at least 1")


def test_a_board_of_the_catalogue_may_have_a_sensor(tmp_path):
    text = (
        '[eye]\ntitle = "A board with an eye"\ncore = "Arm Cortex-M4F"\nclock_mhz = 64\n'
        "[eye.sensor]\nwidth = 320\nheight = 240\npoolings = [1, 8]\n"
        '[eye.sources]\nsensor = "assumed: a sensor that pools"\n'
    )
    own = tmp_path / "boards.toml"
    own.write_text(text, encoding="utf-8")
    assert get("eye", str(own)).sensor == Sensor(320, 240, 3, 8, (1, 8))
    assert get("nrf52840").sensor is None
    for old, new, message in (
        ("poolings = [1, 8]", "poolings = [7]", "eye.sensor: sensor.poolings: 7 "),
        ("[eye.sources]\nsensor", "[eye.sources]\nother", "eye.sources.sensor"),
    ):
        own.with_name(f"{len(old)}.toml").write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(FedTinyError, match=message):
            get("eye", str(own.with_name(f"{len(old)}.toml")))
