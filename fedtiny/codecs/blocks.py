"""Blocks of 64 bytes that carry a code over a radio: one flag, and 63 that check themselves.

Byte 0 is the flag: bit 7 says that the code ends here, bits 0 to 6 are the message's number modulo
128. Byte 1 is the block's index, then come up to 60 bytes of the code (all blocks but the last have
60), then CRC-16/CCITT of everything before. ``c/fedtiny_blocks.c`` writes the same.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from enum import StrEnum

from fedtiny.codecs.errors import CodecError

BLOCK_BYTES = 64
PAYLOAD_BYTES = 60
MOST_BYTES = 256 * PAYLOAD_BYTES
"""Of a code: an index is a byte."""

_HEAD, _TAIL = 2, 2
_LAST, _MESSAGE = 0x80, 0x7F


def split(code: bytes, message: int) -> list[bytes]:
    """The blocks of a code, in order.

    Args:
        code: 1 to :data:`MOST_BYTES` bytes.
        message: its number; the receiver tells 128 in a row apart.

    Raises:
        CodecError: an empty code, or one that is too long.

    >>> [len(block) for block in split(bytes(100), 7)]
    [64, 44]
    """
    if not 1 <= len(code) <= MOST_BYTES:
        raise CodecError(
            f"a code of {len(code)} bytes; blocks carry 1 to {MOST_BYTES}: send fewer features"
        )
    starts = range(0, len(code), PAYLOAD_BYTES)
    return [_block(code, message, index, start) for index, start in enumerate(starts)]


def shortened(block: bytes, most_bytes: int) -> bytes | None:
    """A block that ends the code where ``most_bytes`` of its own end; itself if it is that short.

    Any prefix of a code that is cut anywhere is one, so that a sender may end it where time does.

    Args:
        block: one of :func:`split`.
        most_bytes: on the air, head and checksum included.

    Returns:
        None where not a byte of the code fits.

    >>> whole = split(bytes(100), 7)[0]
    >>> short = shortened(whole, 24)
    >>> receiver = Receiver(7)
    >>> receiver.offer(short).value, len(receiver.code), receiver.complete
    ('accepted', 20, True)
    """
    if len(block) <= most_bytes:
        return block
    if most_bytes <= _HEAD + _TAIL:
        return None
    body = bytes((block[0] | _LAST,)) + block[1 : most_bytes - _TAIL]
    return body + crc16(body).to_bytes(2, "big")


def _block(code: bytes, message: int, index: int, start: int) -> bytes:
    end = start + PAYLOAD_BYTES
    flag = message & _MESSAGE | (_LAST if end >= len(code) else 0)
    body = bytes((flag, index)) + code[start:end]
    return body + crc16(body).to_bytes(2, "big")


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE.

    >>> hex(crc16(b"123456789"))  # the check value of its catalogue entry
    '0x29b1'
    """
    return binascii.crc_hqx(data, 0xFFFF)


class Reply(StrEnum):
    """What a receiver says of a block."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    DAMAGED = "damaged"
    OTHER_MESSAGE = "of another message"
    CONTRADICTS = "contradicts an earlier one"
    BEYOND_THE_END = "beyond the end of the code"


@dataclass(slots=True)
class Receiver:
    """Gathers the blocks of one message, which may come in any order, twice, damaged or never.

    Attributes:
        message: its number, modulo 128.

    >>> receiver = Receiver(7)
    >>> first, second = split(bytes(range(100)), 7)
    >>> receiver.offer(second).value, len(receiver.code), receiver.complete
    ('accepted', 0, False)
    >>> receiver.offer(first).value, len(receiver.code), receiver.complete
    ('accepted', 100, True)
    """

    message: int
    _parts: dict[int, bytes] = field(default_factory=dict)
    _last: int | None = None

    def offer(self, block: bytes) -> Reply:
        """Take a block, or say why not."""
        body, check = block[:-_TAIL], block[-_TAIL:]
        if not _HEAD + _TAIL < len(block) <= BLOCK_BYTES or crc16(body).to_bytes(2, "big") != check:
            return Reply.DAMAGED
        flag, index, payload = body[0], body[1], body[_HEAD:]
        ends = bool(flag & _LAST)
        if not ends and len(payload) < PAYLOAD_BYTES:
            return Reply.DAMAGED
        if flag & _MESSAGE != self.message & _MESSAGE:
            return Reply.OTHER_MESSAGE
        return self._take(index, payload, ends)

    def _take(self, index: int, payload: bytes, ends: bool) -> Reply:
        if index in self._parts:
            same = self._parts[index] == payload and ends == (index == self._last)
            return Reply.DUPLICATE if same else Reply.CONTRADICTS
        if self._last is not None and index > self._last:
            return Reply.BEYOND_THE_END
        if ends and (self._last is not None or any(known > index for known in self._parts)):
            return Reply.CONTRADICTS
        self._parts[index] = payload
        if ends:
            self._last = index
        return Reply.ACCEPTED

    @property
    def code(self) -> bytes:
        """What is there without a gap, from the first byte on: a prefix of the code."""
        whole = bytearray()
        for index in range(len(self._parts)):
            if index not in self._parts:
                break
            whole += self._parts[index]
        return bytes(whole)

    @property
    def complete(self) -> bool:
        """Whether that is all of it."""
        return self._last is not None and len(self._parts) == self._last + 1
