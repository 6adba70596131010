"""Test vectors of an exported model: counts in, and every byte that must come out."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.tensors import Int16s

MAGIC = b"FTV2"
HEADER_BYTES = 20


def vector_file(model: IntegerGraph, counts: Int16s) -> bytes:
    """Test vectors as ``main.c`` reads them, expectations from the integer reference.

    ``"FTV2"``, u32 vectors, u32 input values, u32 classes, u32 steps; then for each vector the
    int16 counts (H, W, C), the int8 quantized input, the int8 logits and the CRC-32 of each
    step's output; all little-endian.
    """
    header = np.array(
        [len(counts), model.input.nbytes, model.output.nbytes, len(model.nodes)], "<u4"
    )
    chunks = range(0, len(counts), reference.CHUNK)
    records = (_records(model, counts[i : i + reference.CHUNK]).tobytes() for i in chunks)
    return MAGIC + header.tobytes() + b"".join(records)


def shorten(vectors: bytes, limit: int) -> bytes:
    """The same file with its first ``limit`` vectors only.

    Raises:
        FedTinyError: not a vector file.
    """
    if vectors[:4] != MAGIC or len(vectors) < HEADER_BYTES:
        raise FedTinyError("vectors.bin is not from this version of FedTiny; export again")
    number, values, classes, steps = np.frombuffer(vectors, "<u4", 4, 4).tolist()
    kept = min(number, limit)
    end = HEADER_BYTES + kept * _record(values, classes, steps).itemsize
    return MAGIC + np.array([kept, values, classes, steps], "<u4").tobytes() + vectors[20:end]


def _record(values: int, classes: int, steps: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("counts", "<i2", values),
            ("codes", "i1", values),
            ("logits", "i1", classes),
            ("crc", "<u4", steps),
        ]
    )


def _records(model: IntegerGraph, counts: Int16s) -> npt.NDArray[np.void]:
    codes = reference.quantize_input(model, counts)
    number = len(counts)
    dtype = _record(model.input.nbytes, model.output.nbytes, len(model.nodes))
    records = np.zeros(number, dtype)
    records["counts"] = counts.transpose(0, 2, 3, 1).reshape(number, -1)
    records["codes"] = codes.reshape(number, -1)
    for step, (name, tensor) in enumerate(reference.trace(model, codes)):
        records["crc"][:, step] = [zlib.crc32(sample.tobytes()) for sample in tensor]
        if name == model.logits:
            records["logits"] = tensor.reshape(number, -1)
    return records
