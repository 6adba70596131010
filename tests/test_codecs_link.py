"""Sending until a deadline: exact times on known links, losses, and traces."""

from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.codecs.blocks import shortened, split
from fedtiny.codecs.link import Interference, send
from fedtiny.fleet.link import Link, LinkSection
from fedtiny.fleet.steps import Steps
from fedtiny.seeding import rng

CODE = bytes(range(200))
BLOCKS = (64, 64, 64, 24)


def constant(kbps):
    return Link.constant(down_kbps=kbps, up_kbps=kbps)


@pytest.mark.parametrize("whole", range(5))
def test_without_interference_time_is_bytes_over_rate(whole):
    seconds = 8 * sum(BLOCKS[:whole]) / 20_000
    found = send(CODE, constant(20), Interference.NONE, seconds + 1e-9)
    assert found.code == CODE[: 60 * whole]
    assert (found.sent, found.lost) == (whole, 0)
    assert found.seconds == (pytest.approx(seconds) if whole == 4 else inf)


@pytest.mark.parametrize("size", range(1, 69))
def test_a_block_that_would_be_late_ends_the_code_where_the_time_does(size):
    found = send(CODE[:68], constant(20), Interference.NONE, 8 * size / 20_000)
    arrived = max(0, size - 4) if size <= 64 else 60  # four bytes more are the second block's own
    assert found.code == CODE[:arrived]
    assert found.sent == (arrived > 0)
    assert found.seconds == inf


@given(st.integers(0, 3), st.integers(0, 64))
def test_a_shortened_block_is_that_of_a_shorter_code(index, most):
    whole = split(CODE, 7)[index]
    found = shortened(whole, most)
    if most <= 4:
        assert found is None
    elif most >= len(whole):
        assert found == whole
    else:
        assert found == split(CODE[: 60 * index + most - 4], 7)[index]


def test_a_lost_block_is_sent_again_as_short_as_time_is():
    lost = Interference.HEAVY.loss
    draws = {picture: rng(0, "lost blocks", picture).random(2) for picture in range(100)}
    picture = next(i for i, (one, two) in draws.items() if one < lost <= two)
    found = send(CODE, constant(20), Interference.HEAVY, 8 * (64 + 24) / 20_000, picture=picture)
    assert (found.sent, found.lost, found.code) == (2, 1, CODE[:20])


def test_a_link_that_comes_back_is_waited_for():
    link = Link(Steps((0.0,), (1.0,)), Steps((0.0, 1.0), (0.0, 512.0)))
    assert send(CODE, link, Interference.NONE, 1.0).sent == 0
    assert send(CODE, link, Interference.NONE, 1.5).code == CODE[:28]


def test_latency_and_a_rate_that_drops_count():
    link = Link(Steps((0.0,), (1.0,)), Steps((0.0, 1.0), (512.0, 64.0)), latency_s=0.5)
    # half a block in the half second that is left, the other half at an eighth of the rate
    assert send(CODE, link, Interference.NONE, 4.9).sent == 0
    assert send(CODE, link, Interference.NONE, 5.0 + 1e-9).sent == 1
    assert send(CODE, constant(20), Interference.NONE, 1.0, start_s=1e6).sent == 4


@given(st.integers(0, 1000), st.floats(0.0, 0.5), st.sampled_from(Interference))
def test_more_time_is_more_of_the_same_code(picture, deadline, interference):
    first, later = (
        send(CODE, constant(20), interference, seconds, picture=picture)
        for seconds in (deadline, 2 * deadline)
    )
    assert CODE.startswith(later.code)
    assert later.code.startswith(first.code)
    assert later.sent >= first.sent


def test_interference_costs_its_share_of_the_blocks():
    for interference in Interference:
        found = [send(CODE, constant(20), interference, 1e6, picture=i) for i in range(500)]
        assert all(one.code == CODE for one in found)
        lost = sum(one.lost for one in found) / sum(one.sent for one in found)
        assert lost == pytest.approx(interference.loss, abs=0.03)


def test_a_fleets_trace_drives_sending():
    rows = Path("sims/fleets/cellular.csv")
    text = (Path(__file__).parents[1] / rows).read_text(encoding="utf-8")
    link = Link.of(LinkSection(rows=text, period_s=86_400), 0, 0, 0)
    night, day = (
        send(CODE * 20, link, Interference.NONE, 0.015, start_s=s) for s in (0.0, 30_000.0)
    )
    # ⌈0.015 s · 2 Mbit/s / 512⌉, and at 800 kbit/s: the last of each is short
    assert (night.sent, day.sent) == (59, 24)
    assert len(night.code) == 3750 - 4 * 59
    assert len(day.code) == 1500 - 4 * 24
