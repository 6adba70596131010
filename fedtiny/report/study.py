"""A study's rows: one per run, appended to a CSV as it finishes, read back for tables and plots."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from fedtiny.errors import FedTinyError
from fedtiny.runs import identity
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
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.metrics import Recording
from fedtiny.text_files import read_text


class StudyError(FedTinyError):
    """A study's CSV or a run of it is not what it should be."""


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
        rounds: of training.
        commit: version of the code.
        data: :func:`short_digest` of the samples; empty in rows that are older than this column.
    """

    dataset: str
    method: str
    density: float
    seed: int
    accuracy: float
    uplink_bytes: int
    train_flops_per_round: int
    peak_memory_bytes: int | None
    rounds: int
    commit: str
    data: str

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What a study has one row of."""
        return self.dataset, self.method, self.density, self.seed


COLUMNS = tuple(field.name for field in fields(StudyRow))


def measure(
    folder: RunFolder, dataset: str, method: str, density: float, group: str, commit: str
) -> StudyRow:
    """The row of a finished run.

    Args:
        folder: of the run.
        dataset, method, density, commit: of the row.
        group: whose samples the accuracy is of, one of ``words.GROUPS``.

    Raises:
        StudyError: the run is not finished, or nobody in ``group`` was evaluated.
    """
    config, recording, recorded = folder.load_config(), folder.recording(), identity.load(folder)
    rounds = next((e.round for e in recording.of(Stopped)), config.federation.rounds)
    last = [one for one in recording.of(Evaluated) if one.round == rounds and one.group == group]
    if not last:
        raise StudyError(f"{folder.path}: no {group} were evaluated in round {rounds}")
    peaks = [one.ledger.measured_peak_bytes for one in recording.of(Metered)]
    return StudyRow(
        dataset=dataset,
        method=method,
        density=density,
        seed=config.seed,
        accuracy=sum(one.correct for one in last) / sum(one.count for one in last),
        uplink_bytes=sum(one.up.wire for one in recording.of(Exchanged)),
        train_flops_per_round=_flops_per_round(recording, config.training.epochs),
        peak_memory_bytes=max((peak for peak in peaks if peak is not None), default=None),
        rounds=rounds,
        commit=commit,
        data=short_digest(recorded.data if recorded else ""),
    )


def short_digest(digest: str) -> str:
    """As much of a digest of samples as tells it from any other that people meet."""
    return digest[:12]


def _flops_per_round(recording: Recording, epochs: int) -> int:
    samples = fmean(one.samples for one in recording.of(DeviceDescribed))
    rounds = recording.of(RoundFinished)
    # A round trains the model that the one before it left.
    sent: list[ModelState] = [*recording.of(ModelPrepared), *rounds[:-1]]
    return round(
        fmean(
            samples * epochs * before.training_flops + after.adjustment_flops
            for before, after in zip(sent, rounds, strict=True)
        )
    )


def read(path: Path) -> list[StudyRow]:
    """Rows in file order; none if there is no file. A last line cut off by a crash is left out.

    Raises:
        StudyError: other columns, a value of the wrong type, or a run twice; names the line.
    """
    if not path.is_file():
        return []
    return parse(path, read_text(path))


def parse(path: Path, text: str) -> list[StudyRow]:
    """:func:`read` of a text that was read already; ``path`` is for messages."""
    whole = text[: text.rfind("\n") + 1]
    table = csv.reader(io.StringIO(whole, newline=""))
    rows: dict[tuple[str, str, float, int], StudyRow] = {}
    try:
        if (header := next(table, None)) is not None and tuple(header) != COLUMNS:
            raise StudyError(f"{path}: expected the columns {','.join(COLUMNS)}")
        for cells in table:
            row = _parse(dict(zip(COLUMNS, cells, strict=True)))
            if row.key in rows:
                raise ValueError(f"{row.key} is there already; delete one")
            rows[row.key] = row
    except (ValueError, OverflowError, csv.Error) as error:
        raise StudyError(f"{path}, line {table.line_num}: {error}") from error
    return list(rows.values())


def write(path: Path, rows: Iterable[StudyRow]) -> None:
    """Replace the file by ``rows``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _lines([COLUMNS, *map(_cells, rows)])
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def append(path: Path, row: StudyRow) -> None:
    """Add a row, on disk when this returns; ``path`` was made by :func:`write`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_lines([_cells(row)]))


def _parse(cells: Mapping[str, str]) -> StudyRow:
    return StudyRow(
        dataset=cells["dataset"],
        method=cells["method"],
        density=_share(cells, "density"),
        seed=int(cells["seed"]),
        accuracy=_share(cells, "accuracy"),
        uplink_bytes=_count(cells, "uplink_bytes"),
        train_flops_per_round=_count(cells, "train_flops_per_round"),
        peak_memory_bytes=_count(cells, "peak_memory_bytes")
        if cells["peak_memory_bytes"]
        else None,
        rounds=_count(cells, "rounds"),
        commit=cells["commit"],
        data=cells["data"],
    )


def _share(cells: Mapping[str, str], column: str) -> float:
    value = float(cells[column])
    if not 0 <= value <= 1:
        raise ValueError(f"{column} is {value}, expected 0 to 1")
    return value


def _count(cells: Mapping[str, str], column: str) -> int:
    value = int(cells[column])
    if not 0 <= value < 2**63:
        raise ValueError(f"{column} is {value}, expected 0 to 2⁶³")
    return value


def _cells(row: StudyRow) -> list[str]:
    return ["" if value is None else str(value) for value in asdict(row).values()]


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
