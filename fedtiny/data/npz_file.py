"""The arrays of an npz file, read without pickle and without trusting what its headers promise;
and written so that the same arrays are the same bytes.

A file of a few bytes can promise an array of gigabytes; here an array is made only of bytes that
are there. They may be compressed, which makes them at most 1032 times as many.
"""

import ast
import io
import sys
import warnings
import zipfile
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fedtiny.data.errors import DataError, bad_file

Arrays = dict[str, NDArray[Any]]

_SUFFIX = ".npy"
_DEFLATE_RATIO = 1032
_HEADER_BYTES = 10_000  # of one that describes numbers or names; numpy's own bound
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}


def read_arrays(path: Path, required: tuple[str, ...]) -> Arrays:
    """Every array of an npz file, by name; in C order, and in this machine's order of bytes.

    Raises:
        DataError: missing, not an npz, truncated or corrupt, pickled, or without a required array.
    """
    try:
        with path.open("rb") as file:
            arrays = _members(path, file)
    except FileNotFoundError as error:
        raise bad_file(path, "no such file") from error
    except OSError as error:
        raise bad_file(path, f"cannot be read: {error}") from error
    missing = [name for name in required if name not in arrays]
    if missing:
        found = ", ".join(f"{name:.80}" for name in list(arrays)[:40])
        raise bad_file(path, f"no array named {', '.join(missing)}; found {found}")
    return arrays


def _members(path: Path, file: io.BufferedIOBase | io.BytesIO) -> Arrays:
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(file) as archive:
            warnings.simplefilter("ignore")  # of Python's, about odd literals in a header
            size = sum(info.compress_size for info in archive.infolist())
            if sum(info.file_size for info in archive.infolist()) > _DEFLATE_RATIO * size + 1024:
                raise bad_file(path, "corrupt: it promises more than its bytes can hold")
            arrays: Arrays = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(_SUFFIX)
                if name in arrays:
                    raise bad_file(path, f"holds {name!a:.80} twice")
                arrays[name] = _array(path, name, archive.read(info))
            return arrays
    except (DataError, OSError):
        raise
    except zipfile.BadZipFile as error:
        begins = file.seek(0) == 0 and file.read(4)
        what = "truncated or corrupt" if begins == b"PK\3\4" else "not an npz file of plain arrays"
        raise bad_file(path, f"{what}: {error}") from error
    except Exception as error:  # damage leads to errors of every kind
        raise bad_file(path, f"truncated or corrupt: {error!s:.300}") from error


def _array(path: Path, name: str, raw: bytes) -> NDArray[Any]:
    """An array of the bytes of a ``.npy`` file."""
    content = io.BytesIO(raw)
    if not raw.startswith(npy.MAGIC_PREFIX):
        raise bad_file(path, f"not an npz file of plain arrays: {name!a:.80} is no array")
    shape, fortran, dtype = _header(content)
    if dtype.hasobject:
        raise bad_file(
            path,
            f"not an npz file of plain arrays: {name!a:.80} holds Python objects, which are never "
            "unpickled; save it as numbers or, for names, as np.array(names, dtype=str)",
        )
    if dtype.kind not in "biufSUc":
        raise bad_file(path, f"{name!a:.80} has type {dtype!s:.80}, expected numbers or names")
    promised, there = prod(shape) * dtype.itemsize, len(raw) - content.tell()
    if promised != there or min(shape, default=0) < 0 or not dtype.itemsize:
        raise bad_file(
            path, f"truncated or corrupt: {name!a:.80} is of {there} bytes, not {promised}"
        )
    order: Literal["F", "C"] = "F" if fortran else "C"
    flat = np.frombuffer(raw, dtype, offset=content.tell()).astype(
        dtype.newbyteorder("="), copy=False
    )
    if dtype.kind == "U" and flat.size and flat.view(np.uint32).max() > sys.maxunicode:
        raise bad_file(path, f"corrupt: {name!a:.80} holds what is no character")
    return np.ascontiguousarray(flat.reshape(shape, order=order))


def _header(content: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, Fortran order, type): the literal of a Python dictionary after its own length."""
    width = _LENGTH_BYTES[npy.read_magic(content)]
    size = int.from_bytes(content.read(width), "little")
    if size > _HEADER_BYTES:
        raise ValueError(f"a header of {size} bytes")
    described = ast.literal_eval(content.read(size).decode("latin1").strip())
    shape, descr = described["shape"], described["descr"]
    if type(shape) is not tuple or not all(type(side) is int for side in shape):
        raise ValueError("the shape is no row of integers")
    if type(descr) is not str:
        raise ValueError("rows of several columns: save each as an array of its own")
    return shape, bool(described["fortran_order"]), np.dtype(descr)


def npz_bytes(arrays: Arrays) -> bytes:
    """An npz file as np.savez writes it, but without the time of day; nothing is compressed."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}{_SUFFIX}")
            with archive.open(member, "w", force_zip64=True) as file:
                file.write(_npy_header(array.dtype, array.shape))
                file.write(np.ascontiguousarray(array).tobytes())
    return whole.getvalue()


@lru_cache(maxsize=512)
def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Of an ``.npy`` file in C order."""
    header = io.BytesIO()
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(header, fields)
    return header.getvalue()
