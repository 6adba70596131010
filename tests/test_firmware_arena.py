"""The arena of an integer model: additions run in place where they may, scratch lives a step."""

import pytest

from fedtiny.bench.synthetic import integer_model
from fedtiny.firmware.arena import plan_arena, scratch_name
from fedtiny.firmware.lower import lower
from fedtiny.models import build
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.add import IntegerAdd
from fedtiny.quant.ops.pool import IntegerPool
from fedtiny.quant.tensors import Int8Tensor


def residual(names):
    """input -> a -> b, then sums as named: each (name, left, right)."""
    nodes = [pool("a", "input"), pool("b", "a")]
    nodes += [IntegerAdd(name, left, right, 1, 1, (-128, 127)) for name, left, right in names]
    tensors = {name: Int8Tensor((4, 2, 2), 1.0, 0) for name in ("input", *(n.name for n in nodes))}
    return IntegerGraph("r", None, tensors, tuple(nodes), nodes[-1].name)


def pool(name, source):
    return IntegerPool(name, source, "max", (1, 1), (1, 1))


def test_addition_writes_over_an_operand_nobody_reads_later():
    arena = plan_arena(residual([("sum", "b", "a")]), {})
    assert arena.offsets["sum"] == arena.offsets["b"]
    assert arena.nbytes == 32


def test_addition_keeps_operands_that_are_read_later():
    model = residual([("first", "b", "a"), ("second", "b", "a"), ("third", "first", "second")])
    arena = plan_arena(model, {})
    assert arena.offsets["first"] not in (arena.offsets["a"], arena.offsets["b"])
    assert arena.offsets["second"] in (arena.offsets["a"], arena.offsets["b"])
    assert arena.nbytes == 48


def test_scratch_lives_for_one_step():
    arena = plan_arena(residual([("sum", "b", "a")]), {"a": 40, "b": 8})
    assert arena.live_bytes == (16 + 16 + 40, 16 + 16 + 8, 32)
    assert arena.nbytes == max(arena.live_bytes)
    assert scratch_name("sum") not in arena.offsets


SEPARABLE = {"ds_cnn": (1, 49, 10), "mobilenet_v1": (3, 96, 96)}


@pytest.mark.parametrize("name", SEPARABLE)
def test_nothing_is_wasted_on_chains_of_separable_convolutions(name):
    """By size or by time alone 7 to 12 % were: the longest-lived buffers must go first."""
    arena = lower(integer_model(build(name, SEPARABLE[name], 4), 0.1)).arena
    assert arena.nbytes == max(arena.live_bytes)
