"""ctypes mirror of ``src/engine.h``: the same fields in the same order."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Any, TypeVar, cast

import numpy as np

CType = TypeVar("CType", bound=ctypes.Structure | ctypes.Array[Any])

ALIGNMENT_BYTES = 64
"""Of every array and buffer: the widest vector."""

MAX_TERMS = 4
"""Summands a tensor may be recomputed from where it is read."""


class Kind(IntEnum):
    """What one op does; the values are those of ``enum Kind``."""

    LOAD = 0
    CONV = 1
    CONV_AGAIN = 2
    SUM = 3
    POOL = 4
    LOSS = 5
    NORM_GRAD = 6
    CONV_GRAD = 7
    MASK_GRAD = 8
    ADD_GRAD = 9
    POOL_GRAD = 10
    RANGE = 11
    GROW = 12
    PRUNE = 13
    EXPAND = 14
    GATE = 15
    GATE_GRAD = 16
    BIAS_GRAD = 17
    UPSAMPLE = 18
    UPSAMPLE_GRAD = 19


class Activation(IntEnum):
    """What is applied to a value; the values are those of ``enum Activation``."""

    NONE = 0
    RELU = 1
    RELU6 = 2
    HARD_SWISH = 3


class _Words(ctypes.Structure):
    """A structure of 8-byte fields, or pairs of 4: integers, pointers as addresses."""


def _words(names: str) -> list[tuple[str, type]]:
    return [(name, ctypes.c_int64) for name in names.split()]


def _halves(names: str) -> list[tuple[str, type]]:
    return [(name, ctypes.c_int32) for name in names.split()]


class Term(_Words):
    """One summand: scale[c]·(data − mean[c]) + beta[c], activated before or after adding."""

    _fields_ = [
        *_words("data mean scale beta"),
        *_halves("activation sum_activation"),
        *_words("packed"),
        *_halves("capacity narrow"),
    ]


class Layer(_Words):
    """Geometry, non-zero lists, parameters and coefficients of one layer."""

    _fields_ = _words(
        "in_channels in_height in_width out_channels out_height out_width "
        "kernel_h kernel_w stride_h stride_w pad_h pad_w group_inputs group_outputs "
        "batch_norm activation tile_rows grad_rows dense flat "
        "start offset grad_start grad_offset grad_weight values value_grads "
        "gamma beta gamma_grad beta_grad running_mean running_var "
        "center mean inverse_std scale"
    )


class Op(_Words):
    """One step of a program."""

    _fields_ = [
        *_words(
            "kind layer channels height width out_height out_width "
            "kernel_h kernel_w stride_h stride_w pad_h pad_w is_max terms"
        ),
        ("term", Term * MAX_TERMS),
        *_words(
            "input out scratch sums weights accumulate activation gated "
            "first_channel last_channel top_k top_index top_count top_value capacity "
            "absent_offset absent_grad finish"
        ),
        *_halves("narrow_input narrow_out narrow_tile tile_bytes"),
        *_words("partial"),
    ]


class Run(ctypes.Structure):
    """One execution of a program."""

    _fields_ = [
        *_words("ops count lanes valid blocks x y training"),
        ("bn_momentum", ctypes.c_double),
        ("grad_scale", ctypes.c_double),
        *_words("loss correct seconds threads pool parallel"),
    ]


class Sgd(ctypes.Structure):
    """One optimizer step over all parameters."""

    _fields_ = [
        *_words("values grads momentum count"),
        ("learning_rate", ctypes.c_double),
        ("momentum_factor", ctypes.c_double),
        ("weight_decay", ctypes.c_double),
    ]


class Adam(ctypes.Structure):
    """One step of Adam over parameters that lie together."""

    _fields_ = [
        *_words("values grads first second count"),
        ("rate", ctypes.c_double),
        ("correction", ctypes.c_double),
        ("keep_first", ctypes.c_double),
        ("keep_second", ctypes.c_double),
        ("epsilon", ctypes.c_double),
        ("weight_decay", ctypes.c_double),
    ]


MIRRORED: tuple[type[ctypes.Structure | IntEnum], ...] = (
    Term, Layer, Op, Run, Sgd, Adam, Kind, Activation,
)  # fmt: skip
"""What the library describes field by field, and :func:`mirror` has to match."""


def mirror(kind: type[ctypes.Structure | IntEnum]) -> list[str]:
    """A structure's fields or an enum's constants in the library's words (``src/mirror.h``).

    >>> mirror(Sgd)[:2], mirror(Kind)[2]
    (['values:0:8', 'grads:8:8'], 'kConvAgain:2')
    """
    if issubclass(kind, IntEnum):
        return [f"k{each.name.title().replace('_', '')}:{each.value}" for each in kind]
    fields = ((field[0], getattr(kind, field[0])) for field in kind._fields_)
    return [f"{name}:{field.offset}:{field.size}" for name, field in fields]


def zeroed(kind: type[CType]) -> CType:
    """A C value in numpy's memory, where a meter of allocations sees it."""
    return cast(CType, kind.from_buffer(np.zeros(ctypes.sizeof(kind), np.uint8).data))
