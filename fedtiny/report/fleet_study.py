"""A row of the study of unequal devices."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.report.rows import RowError
from fedtiny.report.study import short_digest
from fedtiny.report.tiers import tiers_summary
from fedtiny.runs import identity
from fedtiny.runs.clock_events import ClockAdvanced
from fedtiny.runs.events import Exchanged, Metered, TierGiven
from fedtiny.runs.fields import Count, Seconds, Share
from fedtiny.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class FleetRow:
    """One run.

    Attributes:
        dataset, method: as the sweep names them.
        seed: of the run.
        global_accuracy: of the part that is the global model, on all samples of people who took
            no part, after the last round.
        mean_device_accuracy: of every device's own test samples with what it uses, mean over
            devices.
        worst_tier_accuracy: of the worst part that anybody trains, on the same samples as the
            global model.
        peak_bytes: measured in a training step, largest over devices of the smallest budget.
        budget_bytes: the smallest of any device that trains.
        uplink_bytes: all that devices sent, every phase, as Flower serializes it.
        virtual_seconds: simulated, until the last round ended.
        commit: version of the code.
        density: of the global model's masks, in (0, 1].
        largest_share: of its budget that any device's measured peak takes; at most 1 where budgets
            hold.
        training_devices: how many train.
        global_width: of the part that is the global model.
        data: :func:`~fedtiny.report.study.short_digest` of the samples.
    """

    dataset: str
    method: str
    seed: int
    global_accuracy: Share
    mean_device_accuracy: Share
    worst_tier_accuracy: Share
    peak_bytes: Count
    budget_bytes: Count
    uplink_bytes: Count
    virtual_seconds: Seconds
    commit: str
    density: Share
    largest_share: float
    training_devices: Count
    global_width: Share
    data: str

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What a study has one row of."""
        return self.dataset, self.method, self.density, self.seed

    @property
    def accuracy(self) -> float:
        """The global model's."""
        return self.global_accuracy


def measure(folder: RunFolder, dataset: str, method: str, density: float, commit: str) -> FleetRow:
    """The row of a finished run with tiers, a fleet with budgets, and a clock.

    Raises:
        RowError: the run has none of one of these, or is not finished.
    """
    recording, recorded = folder.recording(), identity.load(folder)
    found = tiers_summary(recording)
    clock = recording.of(ClockAdvanced)
    ledgers = [
        (one.ledger.budget_bytes, one.ledger.measured_peak_bytes)
        for one in recording.of(Metered)
        if one.ledger.measured_peak_bytes is not None
    ]
    if found is None or not clock or not ledgers:
        raise RowError(f"{folder.path}: no tiers, no clock or no budgets; a fleet's row needs all")
    smallest = min(budget for budget, _ in ledgers)
    return FleetRow(
        dataset=dataset,
        method=method,
        seed=folder.load_config().seed,
        global_accuracy=found["global_accuracy"],
        mean_device_accuracy=found["mean_device_accuracy"],
        worst_tier_accuracy=found["worst_tier_accuracy"],
        peak_bytes=max(peak for budget, peak in ledgers if budget == smallest),
        budget_bytes=smallest,
        uplink_bytes=sum(one.up.wire for one in recording.of(Exchanged)),
        virtual_seconds=clock[-1].ended_s,
        commit=commit,
        density=density,
        largest_share=max(peak / budget for budget, peak in ledgers),
        training_devices=len({one.partition for one in recording.of(TierGiven)}),
        global_width=next(part["width"] for part in found["parts"] if part["is_global"]),
        data=short_digest(recorded.data if recorded else ""),
    )
