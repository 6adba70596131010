"""Every op has its place in every pass of the engine, every kind of step its kernel."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from fedtiny.engine import abi, backward, forward, geometry
from fedtiny.engine.build import SOURCES
from fedtiny.models.ops import Activation, Layer, Node


@pytest.mark.parametrize(
    ("table", "ops"),
    [
        (forward.BUILDERS, get_args(Node)),
        (backward.BUILDERS, get_args(Node)),
        (geometry.GEOMETRIES, get_args(Layer)),  # the others hold no weights
    ],
)
def test_every_op_has_every_pass(table, ops):
    assert set(table) == set(ops)


def test_every_activation_has_a_code():
    assert [kind.name for kind in Activation] == [kind.name for kind in abi.Activation]


def test_every_kind_has_a_kernel():
    kernels = re.findall(r"case (k\w+):", (SOURCES / "kernels.cpp").read_text(encoding="utf-8"))
    assert [f"{name}:{i}" for i, name in enumerate(kernels)] == abi.mirror(abi.Kind)
