"""Links and availability: integrated exactly, and refused with line and remedy where they lie."""

from fractions import Fraction
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.devices.catalog import get
from fedtiny.devices.seconds import PriceError, compute_seconds, round_seconds
from fedtiny.fleet.link import Link, LinkSection
from fedtiny.fleet.steps import Steps
from fedtiny.fleet.traces import TraceError, read_links, read_states

HEAD = "client,second,kbps\n"
whole = st.integers(0, 9)


@st.composite
def step_functions(draw):
    """Small whole numbers, in which floats are exact."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    values = draw(st.lists(whole, min_size=len(lengths), max_size=len(lengths)))
    seconds = [0]
    for length in lengths[:-1]:
        seconds.append(seconds[-1] + length)
    period = seconds[-1] + lengths[-1] if draw(st.booleans()) else inf
    return Steps(tuple(map(float, seconds)), tuple(map(float, values)), float(period))


def moved_until(steps, start, end):
    """The integral, in halves of a second that no step divides: another way than pieces."""
    halves = range(int(2 * start), int(2 * end))
    return sum(Fraction(int(steps.at(half / 2))) / 2 for half in halves)


@given(step_functions(), whole, st.integers(1, 60))
def test_a_transfer_ends_when_just_so_much_was_moved(steps, start, amount):
    took = steps.time_for(float(amount), float(start))
    if took == inf:
        assert not any(steps.values) or (steps.period_s == inf and steps.values[-1] == 0)
        assert moved_until(steps, start, start + 300) < amount
        return
    end = start + took
    last = int(2 * end) / 2
    before = moved_until(steps, start, last)
    assert before <= amount + 1e-9
    assert float(before) + (end - last) * steps.at(last) == pytest.approx(amount)
    assert steps.at(max(start, end - 1e-6)) > 0  # it ends while something moves, not after it


def test_long_transfers_do_not_walk_through_every_period():
    day = Steps((0.0, 1.0), (2.0, 0.0), 10.0)
    assert day.time_for(2e12) == pytest.approx(1e13 - 9)
    assert Steps((0.0,), (0.0,), 5.0).time_for(1.0) == inf


@given(step_functions(), st.integers(0, 40))
def test_the_next_time_without_and_with_a_value(steps, start):
    for found, wanted in (
        (steps.next_zero(start), lambda v: v == 0),
        (steps.next_above_zero(start), lambda v: v > 0),
    ):
        ahead = [s for s in range(start, start + 60) if wanted(steps.at(s))]
        assert found == (ahead[0] if ahead else inf)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line names the columns, 'client,second,kbps' or"),
        ("client,second\n0,0", "line 1: the first line names the columns"),
        (HEAD, "has 0 rows"),
        (HEAD + "0,0,8\n2,0,8", "nothing is said of client 1"),
        (HEAD + "0,5,8", "line 2: client 0 begins at second 5, a gap"),
        (HEAD + "0,0,8\n0,5,", "line 3: '0,5,' is not"),
        (HEAD + "0,0,8\n0,5", "line 3: '0,5' is not"),
        (HEAD + "0,0,8\n0,9,8\n0,5,8", r"line 4: client 0's clock runs backwards, .* \(line 3\)"),
        (HEAD + "0,0,8\n0,0,9", "line 3: client 0's clock runs backwards, or stands"),
        (HEAD + "# a comment\n\n0,0,-8", "line 4: kbps is -8; write a rate from 0 on"),
        (HEAD + "0,0,nan", "line 2: kbps is nan; write a rate"),
        (HEAD + "0,0,inf", "line 2: kbps is inf; write a rate"),
        (HEAD + "0,0,fast", "line 2: kbps is fast; write a rate"),
        (HEAD + "0,nan,8", "line 2: second is nan; write a time from 0 on"),
        (HEAD + "-1,0,8", "line 2: client is -1; write a whole number from 0 on"),
        (HEAD + "0,0,8\n0,9,0", "line 3: client 0's last rate is 0 and holds on"),
        (HEAD + "0,0,0", "line 2: client 0's rate is never above 0"),
        (HEAD + "0,0,8\n" * 20_001, "has 20,001 rows"),
    ],
)
def test_a_link_s_trace_is_refused_with_its_line_and_a_remedy(text, message):
    with pytest.raises(TraceError, match=f"^lte.csv.*{message}"):
        read_links(text, "lte.csv")


def test_a_link_that_is_dead_all_its_period_is_not_told_to_repeat():
    with pytest.raises(TraceError, match=r"line 3: client 0's rate is never above 0"):
        read_links(HEAD + "0,0,0\n0,5,0", "lte.csv", period_s=10)


def test_gaps_of_samples_ends_of_periods_and_states():
    with pytest.raises(TraceError, match="line 4: client 0 has nothing between second 1 and 3"):
        read_links(HEAD + "0,0,8\n0,1,8\n0,3,8", "lte.csv", every_s=1.0)
    with pytest.raises(TraceError, match="line 3: second 10 is not before period_s = 10"):
        read_links(HEAD + "0,0,8\n0,10,8", "lte.csv", period_s=10.0)
    with pytest.raises(TraceError, match=r"day.csv, line 2: state is '1'; write on or off"):
        read_states("client,second,state\n0,0,1", "day.csv")
    (steps,) = read_states("client,second,state\n0,0,on\n0,9,off", "day.csv", 10.0)
    assert (steps.next_zero(0.0), steps.next_above_zero(9.5)) == (9.0, 10.0)


def test_directions_may_differ_and_clients_are_dealt_in_turn():
    rows = "client,second,down_kbps,up_kbps\n0,0,800,80\n1,0,8,8\n"
    section = LinkSection(rows=rows)
    assert Link.of(section, 0, 7, 0).down_seconds(1000, 0.0) == pytest.approx(0.01)
    assert Link.of(section, 2, 7, 0).up_seconds(1000, 0.0) == pytest.approx(0.1)
    assert Link.of(section, 1, 7, 0).up_seconds(1000, 0.0) == pytest.approx(1.0)


def test_a_round_by_hand():
    """esp32_s3, assumed 30 MFLOP/s; 8 kbit/s until second 10, then 16."""
    rows = HEAD + "0,0,8\n0,10,16"
    link = Link.of(LinkSection(rows=rows, latency_s=0.5), 0, 0, 0)
    took = round_seconds(get("esp32_s3"), link, 15e6, down_bytes=8000, up_bytes=8000, start_s=3.0)
    # 64 kbit from 3.5 on: 52 until second 10, 12 at 16 kbit/s until 10.75
    assert took.down == pytest.approx(7.75)
    assert took.compute == pytest.approx(0.5)
    assert took.up == pytest.approx(0.5 + 4.0)
    assert took.total == pytest.approx(12.75)


def test_chance_is_a_function_of_seed_round_and_partition():
    section = LinkSection(down_kbps=80, up_kbps=80, jitter=0.5, spread=0.7)

    def seconds(seed=0, partition=0, round=1):
        return Link.of(section, 0, partition, seed).up_seconds(1000, 0.0, round)

    assert seconds() == seconds()
    assert len({seconds(), seconds(seed=1), seconds(partition=1), seconds(round=2)}) == 4
    one = Link.of(LinkSection(down_kbps=80, up_kbps=80, jitter=0.5), 0, 0, 0)
    took = [one.up_seconds(1000, 0.0, round) for round in range(50)]
    assert 0.1 / 1.5 <= min(took) < 0.08 < 0.13 < max(took) <= 0.1 / 0.5
    assert took[1] != one.down_seconds(1000, 0.0, 1)


def test_no_time_is_ever_nothing_because_a_number_is_missing():
    link = Link.constant(down_kbps=800, up_kbps=80)
    with pytest.raises(PriceError, match="rp2350: its catalogue states no sustained_mflops"):
        round_seconds(get("rp2350"), link, 1e6, 1, 1)
    for flops in (0, float("nan"), float("inf"), -1):
        with pytest.raises(PriceError, match="FLOPs to execute"):
            compute_seconds(get("pi_5"), flops)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"down_kbps": 8},
        {"down_kbps": 8, "rows": HEAD + "0,0,8"},
        {"down_kbps": 8, "up_kbps": 0},
    ],
)
def test_a_link_is_rates_or_a_trace(keys):
    with pytest.raises(ValueError, match=r"give both|greater than 0"):
        LinkSection(**keys)
