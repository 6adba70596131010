"""What a sweep writes of each run: which columns, and how they are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fedtiny.report import fleet_study, study
from fedtiny.report.fleet_study import FleetRow
from fedtiny.report.rows import Row
from fedtiny.report.study import StudyRow
from fedtiny.runs.folder import RunFolder


class RunRow(Row, Protocol):
    """A row of one run."""

    @property
    def accuracy(self) -> float:
        """What a line of progress tells."""
        ...

    @property
    def commit(self) -> str:
        """Version of the code."""
        ...

    @property
    def data(self) -> str:
        """Digest of the samples."""
        ...


class KindName(StrEnum):
    """Value of ``rows`` in a sweep file."""

    STUDY = "study"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of rows.

    Attributes:
        row: its class.
        measure: (folder of the finished run, dataset, method, density, group of samples, commit).
    """

    row: type[RunRow]
    measure: Callable[[RunFolder, str, str, float, str, str], RunRow]


def _fleet(
    folder: RunFolder, dataset: str, method: str, density: float, _group: str, commit: str
) -> FleetRow:
    return fleet_study.measure(folder, dataset, method, density, commit)


KINDS = {
    KindName.STUDY: Kind(StudyRow, study.measure),
    KindName.FLEET: Kind(FleetRow, _fleet),
}
