"""What a report says of the parts of a model."""

from __future__ import annotations

from fedtiny.report.tiers import tiers_section, tiers_summary
from fedtiny.runs.contest_events import PartCompared
from fedtiny.runs.events import TierEvaluated, TierGiven
from fedtiny.runs.metrics import Recording
from fedtiny.tiers.tier import WHOLE, Tier

THIN, NARROW = Tier(1.0, 0.1), Tier(0.5, 0.2)


def test_the_global_model_is_the_largest_part_that_anybody_trains_in_whatever_order() -> None:
    given = [TierGiven(0, 0, NARROW), *(TierGiven(0, k, t) for k, t in enumerate((THIN, WHOLE)))]
    correct = {WHOLE: 9, THIN: 5, NARROW: 7}
    devices = {WHOLE: 1, THIN: 1, NARROW: 0}
    evaluated = [TierEvaluated(3, t, devices[t], 4, 10, correct[t]) for t in correct]
    found = tiers_summary(Recording([*given, *evaluated]))
    assert found is not None
    assert found["global_accuracy"] == 0.9
    assert found["worst_tier_accuracy"] == 0.5


def test_the_global_model_is_the_part_that_devices_chose_last() -> None:
    evaluated = [TierEvaluated(3, tier, 1, 4, 10, n) for tier, n in ((NARROW, 7), (WHOLE, 9))]
    compared = [
        PartCompared(round, tier, 1.0, 0.125, 0.25, 2, tier == chosen)
        for round, chosen in ((2, WHOLE), (3, NARROW))
        for tier in (WHOLE, NARROW)
    ]
    found = tiers_summary(Recording([*compared, *evaluated]))
    assert found is not None
    assert found["global_accuracy"] == 0.7
    assert [part["is_global"] for part in found["parts"]] == [True, False]
    text = tiers_section(found)
    assert "0.5, global" in text
    assert "0.125 ± 0.250 (width 0.5, density 0.2)" in text
    assert "Devices chose it" not in tiers_section(tiers_summary(Recording(evaluated)))
