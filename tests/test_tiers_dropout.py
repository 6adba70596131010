"""Devices that hold a large part train smaller ones in some rounds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.federation.dropout import part_of_round
from fedtiny.tiers.tier import WHOLE, Tier

QUARTER, HALF, THIN = Tier(0.25, 0.8), Tier(0.5, 0.4), Tier(1.0, 0.05)
KINDS = sorted([QUARTER, HALF, WHOLE])

tiers = st.builds(Tier, st.sampled_from([0.25, 0.5, 1.0]), st.sampled_from([0.05, 0.4, 1.0]))


def drawn(own: Tier, round: int, partition: int = 0, kinds: list[Tier] = KINDS) -> Tier:
    return part_of_round(kinds, own, seed=7, round=round, last=401, partition=partition)


@given(st.sets(tiers, min_size=1), st.integers(2, 400), st.integers(0, 50))
def test_what_is_drawn_needs_no_more_channels_and_no_more_weights(kinds, round, partition):
    for own in kinds:
        part = drawn(own, round, partition, sorted(kinds))
        assert part in kinds
        assert part.width <= own.width
        assert part.density * part.width**2 <= own.density * own.width**2


@pytest.mark.parametrize(("own", "parts"), [(WHOLE, 3), (HALF, 2), (QUARTER, 1)])
def test_all_parts_that_fit_are_as_likely(own: Tier, parts: int) -> None:
    found = Counter(drawn(own, round) for round in range(2, 401))
    assert sorted(found) == KINDS[:parts]
    assert all(abs(count - 399 / parts) < 40 for count in found.values()), found


def test_a_narrower_part_of_more_weights_is_not_drawn() -> None:
    kinds = sorted([QUARTER, Tier(0.5, 0.1)])  # 0.05 and 0.025 of the weights
    assert {drawn(Tier(0.5, 0.1), round, 0, kinds) for round in range(2, 60)} == {Tier(0.5, 0.1)}


def test_one_with_fewer_weights_of_all_channels_is() -> None:
    assert {drawn(WHOLE, round, 0, [THIN, WHOLE]) for round in range(2, 60)} == {THIN, WHOLE}


def test_the_first_round_and_the_last_are_everybody_s_own() -> None:
    for partition in range(30):
        assert drawn(WHOLE, 1, partition) == drawn(WHOLE, 401, partition) == WHOLE


def test_devices_draw_apart_and_alike_again() -> None:
    ones = [[drawn(WHOLE, round, k) for round in range(2, 30)] for k in (0, 1, 0)]
    assert ones[0] == ones[2] != ones[1]
