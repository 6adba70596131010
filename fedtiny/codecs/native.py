"""The device's C of codes and blocks, compiled for this host and called from Python."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_size_t, c_uint8, c_uint16, c_void_p
from pathlib import Path

import numpy as np

from fedtiny.boards.native.library import STRICT_FLAGS, compile_library
from fedtiny.boards.native.types import pointer
from fedtiny.codecs.blocks import BLOCK_BYTES
from fedtiny.codecs.latent_code import LatentCode, Symbols
from fedtiny.quant.tensors import Int8s

SOURCES = Path(__file__).parent / "c"
"""Directory of the C."""


class _Code(ctypes.Structure):
    _fields_ = [
        ("maps", c_uint16),
        ("positions", c_uint16),
        ("symbols", c_uint16),
        ("symbol_of", POINTER(c_uint8)),
        ("cumulative", POINTER(c_uint16)),
    ]


class NativeCode:
    """One code, its coder compiled.

    Args:
        code: what is coded.
        directory: where objects go.

    Raises:
        ToolchainError: gcc is missing or rejects the C.
    """

    def __init__(self, code: LatentCode, directory: Path) -> None:
        files = sorted(SOURCES.glob("*.c"))
        path = compile_library(directory, files, [*STRICT_FLAGS, "-O2"], "codes")
        self._library, self._shape = ctypes.CDLL(str(path)), code.shape
        self._kept = np.ascontiguousarray(code.alphabet.of_int8), code.tables.copy()
        self._code = _Code(
            code.shape[0],
            code.positions,
            len(code.alphabet.values),
            pointer(self._kept[0], c_uint8),
            pointer(self._kept[1], c_uint16),
        )
        self._library.fedtiny_code_encode.restype = c_size_t
        self._library.fedtiny_code_decode.restype = c_uint16
        self._library.fedtiny_block_write.restype = c_size_t

    def encode(self, latent: Int8s, budget_bytes: int) -> bytes:
        """The code of int8 maps (H·W·C,), cut to the budget."""
        out = (c_uint8 * max(budget_bytes, 1))()
        contiguous = np.ascontiguousarray(latent)
        written = self._library.fedtiny_code_encode(
            ctypes.byref(self._code), c_void_p(contiguous.ctypes.data), out, c_size_t(budget_bytes)
        )
        return bytes(out[:written])

    def decode(self, data: bytes) -> Symbols:
        """The maps that ``data`` determines whole, uint8 (n, H·W)."""
        found = np.zeros((self._shape[0], self._code.positions), np.uint8)
        maps = self._library.fedtiny_code_decode(
            ctypes.byref(self._code), data, c_size_t(len(data)), pointer(found, c_uint8)
        )
        return found[:maps]

    def blocks(self, code: bytes, message: int) -> list[bytes]:
        """The blocks of a code, in order."""
        found, block = list[bytes](), (c_uint8 * BLOCK_BYTES)()
        for index in range(256):
            size = self._library.fedtiny_block_write(
                block, c_uint8(message & 0x7F), c_uint8(index), code, c_size_t(len(code))
            )
            if size:
                found.append(bytes(block[:size]))
        return found
