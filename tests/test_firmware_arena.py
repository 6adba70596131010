"""The arena: buffers alive together never overlap, and additions run in place where they may."""

from hypothesis import given
from hypothesis import strategies as st

from fedtiny.firmware.arena import ALIGNMENT, Buffer, place, plan_arena, scratch_name
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.add import IntegerAdd
from fedtiny.quant.ops.pool import IntegerPool
from fedtiny.quant.tensors import Int8Tensor

STEPS = 8


@st.composite
def buffers(draw):
    count = draw(st.integers(1, 12))
    made = []
    for i in range(count):
        first = draw(st.integers(0, STEPS))
        last = draw(st.integers(first, STEPS))
        made.append(Buffer(f"b{i}", draw(st.integers(1, 100)), first, last))
    return made


@given(buffers())
def test_buffers_alive_together_do_not_overlap(made):
    offsets, total = place(made)
    for i, a in enumerate(made):
        assert offsets[a.name] % ALIGNMENT == 0
        assert offsets[a.name] + a.nbytes <= total
        for b in made[i + 1 :]:
            if a.first <= b.last and b.first <= a.last:
                apart = (
                    offsets[a.name] + a.nbytes <= offsets[b.name]
                    or offsets[b.name] + b.nbytes <= offsets[a.name]
                )
                assert apart, (a, b)


@given(buffers())
def test_arena_lies_between_the_peak_and_the_sum(made):
    _, total = place(made)
    rounded = {b.name: -(-b.nbytes // ALIGNMENT) * ALIGNMENT for b in made}
    peak = max(
        sum(rounded[b.name] for b in made if b.first <= step <= b.last) for step in range(STEPS + 1)
    )
    assert peak <= total <= sum(rounded.values())


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
