"""What a report says of the parts of a model."""

from __future__ import annotations

from fedtiny.report.tiers import tiers_summary
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
