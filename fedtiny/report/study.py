"""A row of the study of methods."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from fedtiny.report.rows import RowError
from fedtiny.runs import identity
from fedtiny.runs.event_parts import Race
from fedtiny.runs.events import (
    DeviceDescribed,
    Evaluated,
    Exchanged,
    Metered,
    ModelPrepared,
    ModelState,
    RoundFinished,
    Stopped,
)
from fedtiny.runs.fields import Count, Share
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.metrics import Recording
from fedtiny.runs.trained_model import TrainedModel


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One run.

    Attributes:
        dataset, method: as the sweep names them.
        density: asked for, in (0, 1]; 1 for the dense model.
        seed: of the run.
        accuracy: of the last round in [0, 1], over all samples of the group the sweep names.
        uplink_bytes: all that devices sent, every phase, as Flower serializes it.
        train_flops_per_round: of one device, mean over devices and rounds: samples × epochs ×
            FLOPs of a training step per sample, and the gradients that adjusting asks for.
        peak_memory_bytes: measured in a plain training step, largest over devices; None without
            a fleet.
        rounds: of training, laps of a race before round 1 included.
        width: channels of the first layer of the model that is trained; None in rows of runs that
            chose it themselves and are older than this column.
        commit: version of the code.
        data: :func:`short_digest` of the samples; empty in rows that are older than this column.
    """

    dataset: str
    method: str
    density: Share
    seed: int
    accuracy: Share
    uplink_bytes: Count
    train_flops_per_round: Count
    peak_memory_bytes: Count | None
    rounds: Count
    width: Count | None
    commit: str
    data: str

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What a study has one row of."""
        return self.dataset, self.method, self.density, self.seed


def measure(
    folder: RunFolder, dataset: str, method: str, density: float, group: str, commit: str
) -> StudyRow:
    """The row of a finished run.

    Args:
        folder: of the run.
        dataset, method, density, commit: of the row.
        group: whose samples the accuracy is of, one of ``words.GROUPS``.

    Raises:
        RowError: the run is not finished, or nobody in ``group`` was evaluated.
    """
    config, recording, recorded = folder.load_config(), folder.recording(), identity.load(folder)
    rounds = next((e.round for e in recording.of(Stopped)), config.federation.rounds)
    last = [one for one in recording.of(Evaluated) if one.round == rounds and one.group == group]
    if not last:
        raise RowError(f"{folder.path}: no {group} were evaluated in round {rounds}")
    peaks = [one.ledger.measured_peak_bytes for one in recording.of(Metered)]
    race = recording.of(ModelPrepared)[0].story.get("race")
    return StudyRow(
        dataset=dataset,
        method=method,
        density=density,
        seed=config.seed,
        accuracy=sum(one.correct for one in last) / sum(one.count for one in last),
        uplink_bytes=sum(one.up.wire for one in recording.of(Exchanged)),
        train_flops_per_round=_flops_per_round(recording, config.training.epochs, race),
        peak_memory_bytes=max((peak for peak in peaks if peak is not None), default=None),
        rounds=rounds + (race["laps"] if race else 0),
        width=_width(folder),
        commit=commit,
        data=short_digest(recorded.data if recorded else ""),
    )


def short_digest(digest: str) -> str:
    """As much of a digest of samples as tells it from any other that people meet."""
    return digest[:12]


def _width(folder: RunFolder) -> int:
    shape: tuple[int, ...] = TrainedModel.load(folder.model).graph.layers[0].weight_shape
    return shape[0]


def _flops_per_round(recording: Recording, epochs: int, race: Race | None) -> int:
    """Mean over rounds, and over laps of a race, which are rounds of one shape each."""
    samples = fmean(one.samples for one in recording.of(DeviceDescribed))
    rounds = recording.of(RoundFinished)
    # A round trains the model that the one before it left.
    sent: list[ModelState] = [*recording.of(ModelPrepared), *rounds[:-1]]
    flops = [
        samples * epochs * before.training_flops + after.adjustment_flops
        for before, after in zip(sent, rounds, strict=True)
    ]
    raced = samples * epochs * race["training_flops"] if race else 0.0
    laps = race["laps"] if race else 0
    return round((sum(flops) + raced) / (len(flops) + laps))
