"""Damaged files, drawn from a seed: what a torn disk, an editor or an attacker leaves of one."""

from __future__ import annotations

import gc
import os
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fedtiny.errors import FedTinyError

INPUTS = int(os.environ.get("FEDTINY_FUZZ_INPUTS", "2000"))
"""For every reader; ``make fuzz`` takes 20,000."""

TRACED = 300
MEMORY_BYTES = 16 << 20
"""What a reader may allocate for a file of a few KB."""

JSON_TOKENS = (
    b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"9007199254740993", b'""', b'"x"', b"[]",
    b"{}", b"[[[[", b'"\\ud800"', b"0.5", b"9" * 400, b"\xff", b"\x00", b",", b":", b'{"a":1}',
)  # fmt: skip
TOML_TOKENS = (
    b"true", b"-1", b"nan", b"inf", b"'x'", b"[]", b"{}", b"[[[", b"2026-01-01", b"9" * 400, b"=",
    b"\n[data]\n", b"\n[[x]]\n", b"\xff", b"\x00", b"\xef\xbb\xbf", b'"\\ud800"', b"0x1F", b"1_0",
    b".", b'""',
)  # fmt: skip
CSV_TOKENS = (b",", b'"', b"nan", b"-1", b"1e9", b"\n", b"\r", b"\x00", b"\xff", b"256", b"0.5")
BYTES = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff" * 8, b"\x80" * 4)


def mutations(
    raw: bytes, seed: int, tokens: Sequence[bytes] = BYTES, count: int = INPUTS
) -> Iterator[bytes]:
    """``count`` texts that differ from ``raw`` in one to four places."""
    draw = random.Random(seed)
    for _ in range(count):
        mutated = bytearray(raw)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            _mutate(mutated, draw, tokens)
        yield bytes(mutated)


def _mutate(text: bytearray, draw: random.Random, tokens: Sequence[bytes]) -> None:
    at = draw.randrange(len(text) + 1)
    length = draw.choice((1, 1, 2, 4, 8, 30))
    match draw.randrange(8):
        case 0 if text:
            text[at % len(text)] ^= 1 << draw.randrange(8)
        case 1 if text:
            text[at % len(text)] = draw.randrange(256)
        case 2:
            del text[at : at + length]
        case 3:
            text[at:at] = draw.randbytes(length)
        case 4:
            text[at:at] = text[(start := draw.randrange(len(text) + 1)) : start + length]
        case 5:
            token = draw.choice(tokens)
            text[at : at + len(token)] = token
        case 6:
            _replace_word(text, at, draw.choice(tokens))
        case 7 if draw.randrange(4) == 0:
            del text[at:]


def _replace_word(text: bytearray, at: int, token: bytes) -> None:
    """A whole value between separators, so that what is around it stays well-formed."""
    ends = b",:=[]{}\n "
    first = last = at
    while first > 0 and text[first - 1] not in ends:
        first -= 1
    while last < len(text) and text[last] not in ends:
        last += 1
    text[first:last] = token


def reader(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Of a content that is written to ``path`` first."""

    def run(raw: bytes) -> object:
        path.write_bytes(raw)
        return read(path)

    return run


def fuzz(
    read: Callable[[bytes], object],
    inputs: Iterator[bytes],
    name: str,
    traced: int = TRACED,
    seconds: float = 60.0,
) -> int:
    """Read every input: a result or our own error that names the file; how many were refused.

    Args:
        read: raises whatever a reader raises.
        inputs: damaged files.
        name: that every refusal must mention.
        traced: inputs whose memory is measured, which takes several times as long.
        seconds: of the processor for all of them.
    """
    gc.freeze()  # what lives in this process already is no time of the reader's
    refused, began = 0, time.process_time()
    tracemalloc.start()
    try:
        for number, raw in enumerate(inputs, start=1):
            refused += refuses(read, raw, name)
            if number == traced:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert peak < MEMORY_BYTES, f"{peak:,} bytes"
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    assert time.process_time() - began < seconds
    return refused


def refuses(read: Callable[[bytes], object], raw: bytes, name: str) -> bool:
    """Whether the reader refuses; any error but ours is shown with its input."""
    try:
        read(raw)
    except FedTinyError as error:
        text = str(error)
    except BaseException as error:
        raise AssertionError(f"{raw[:3000]!r} gave {error!r}") from error
    else:
        return False
    assert name in text, f"{text} does not name {name}"
    assert len(text) < 20_000
    return True
