"""The static planner: buffers alive together never overlap, and no block is larger than needed."""

from hypothesis import given
from hypothesis import strategies as st

from fedtiny.memory.arena import Buffer, aligned, live_bytes, peak, place
from fedtiny.memory.ledger import LedgerLine

STEPS = 10
ALIGNMENTS = st.sampled_from([1, 8, 64])


@st.composite
def buffers(draw):
    made = []
    for i in range(draw(st.integers(1, 25))):
        first = draw(st.integers(0, STEPS))
        last = draw(st.integers(first, STEPS))
        line = draw(st.sampled_from(LedgerLine))
        made.append(Buffer(f"b{i}", draw(st.integers(0, 500)), line, first, last))
    return made


@given(buffers(), ALIGNMENTS)
def test_buffers_alive_together_never_overlap(made, alignment):
    size = place(made, alignment)
    for i, a in enumerate(made):
        assert a.offset % alignment == 0
        assert 0 <= a.offset <= a.offset + aligned(a.nbytes, alignment) <= size
        for b in made[:i]:
            apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
            assert apart or a.last < b.first or b.last < a.first, (a, b)


@given(buffers(), ALIGNMENTS)
def test_the_block_lies_between_the_live_peak_and_the_sum(made, alignment):
    most = max(live_bytes(made, step, alignment) for step in range(STEPS + 1))
    everything = sum(aligned(buffer.nbytes, alignment) for buffer in made)
    assert most <= place(made, alignment) <= everything


@given(buffers(), ALIGNMENTS)
def test_lines_at_the_peak_add_up_to_the_block(made, alignment):
    size = place(made, alignment)
    lines = peak(made, size, alignment)
    assert sum(lines.values()) == size
    assert all(nbytes >= 0 for nbytes in lines.values())


def test_nothing_needs_nothing():
    assert place([], 8) == 0
