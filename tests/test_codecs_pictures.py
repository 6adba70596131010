"""Picture formats as codecs: what counts of a file, cuts, and bytes that are no picture."""

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.picture_codec import PictureCodec
from fedtiny.codecs.picture_files import PictureFormat, cut, payload_bytes, read, write

ROWS, COLUMNS = np.mgrid[:28, :28]
PICTURE = (100 + 80 * np.sin(ROWS / 3) + 50 * np.cos(COLUMNS / 2)).astype(np.uint8)[None]


def brightness(pictures):
    """Logits that show which picture was classified."""
    return pictures.reshape(len(pictures), -1).mean(1, keepdims=True).astype(np.float32)


def codec(kind, **settings):
    return PictureCodec(kind, (1, 28, 28), brightness, **settings)


@pytest.mark.parametrize("kind", PictureFormat)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 36)])
def test_files_come_back(kind, shape):
    x = np.resize(PICTURE, shape)
    file = write(x, kind, 95)
    again = read(file, shape)
    assert again.shape == shape
    assert np.abs(again.astype(int) - x).mean() < 40
    with pytest.raises(CodecError, match="expected 99×28"):
        read(file, (1, 28, 99))


def test_the_payload_of_a_jpeg_is_its_one_scan():
    """Independently: everything after the scan's header, but the two bytes of the end marker."""
    file = write(PICTURE, PictureFormat.JPEG, 50)
    header = file.index(b"\xff\xda")
    length = int.from_bytes(file[header + 2 : header + 4], "big")
    assert payload_bytes(file) == len(file) - (header + 2 + length) - 2
    other = write(255 - PICTURE[:, ::-1], PictureFormat.JPEG, 50)
    assert other[: header + 2 + length] == file[: header + 2 + length]  # headers can be shared


@pytest.mark.parametrize("budget", [0, 1, 8, 20, 40, 64, 10_000])
def test_a_cut_file_has_no_more_than_the_budget_and_is_still_a_picture(budget):
    whole = write(PICTURE, PictureFormat.PROGRESSIVE_JPEG, 50)
    file = cut(whole, budget)
    assert payload_bytes(file) == min(budget, payload_bytes(whole))
    assert read(file, (1, 28, 28)).shape == (1, 28, 28)


def test_more_of_a_progressive_file_is_nearer_to_the_picture():
    one = codec(PictureFormat.PROGRESSIVE_JPEG, qualities=(80,))
    errors = [
        np.abs(read(one.encode(PICTURE, size), (1, 28, 28)).astype(int) - PICTURE).mean()
        for size in (10, 60, 400)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 2


@pytest.mark.parametrize("kind", [PictureFormat.JPEG, PictureFormat.WEBP])
def test_the_largest_quality_that_fits_is_taken(kind):
    one = codec(kind, qualities=(5, 50, 90))
    sizes = [payload_bytes(write(PICTURE, kind, quality)) for quality in one.qualities]
    for size, quality in zip(sizes, one.qualities, strict=True):
        assert one.encode(PICTURE, size) == write(PICTURE, kind, quality)
        assert one.payload_bytes(one.encode(PICTURE, size)) == size
    with pytest.raises(CodecError, match=f"the smallest file has {sizes[0]} bytes"):
        one.encode(PICTURE, sizes[0] - 1)
    image = Image.open(io.BytesIO(one.encode(PICTURE, sizes[-1])))
    shown = np.asarray(image.convert("L"))[None]
    assert one.decode(one.encode(PICTURE, sizes[-1])) == brightness(shown[None])[0]
    assert one.ladder() == ()


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 7))
def test_damaged_files_are_pictures_or_refused(noise, at, kind):
    file = write(PICTURE, list(PictureFormat)[kind % 3], 30)
    damaged = file[:at] + noise + file[at + kind :]
    with suppress(CodecError):  # nothing else is raised
        assert codec(PictureFormat.JPEG).decode(damaged).shape == (1,)
    with suppress(CodecError):
        assert payload_bytes(damaged) >= 0


def test_what_is_no_picture_is_refused():
    for wrong in (np.zeros((28, 28), np.uint8), np.zeros((2, 8, 8), np.uint8), np.zeros((1, 8, 8))):
        with pytest.raises(CodecError, match="a picture is uint8"):
            write(wrong, PictureFormat.JPEG, 50)
    with pytest.raises(CodecError, match="is expected"):
        codec(PictureFormat.JPEG).encode(PICTURE[:, :8], 100)
    with pytest.raises(CodecError, match="no JPEG"):
        payload_bytes(b"GIF89a")
