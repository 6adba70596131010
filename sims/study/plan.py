"""What a sweep runs: seeds × methods × densities over one base config, each method tuned alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedtiny import config as run_config
from fedtiny.config import RunConfig
from fedtiny.errors import FedTinyError
from fedtiny.escaping.file_name import check_file_name
from fedtiny.report.study import StudyRow
from fedtiny.report.tuning import best_variants, trial_name
from fedtiny.settings import ConfigError, Fraction
from fedtiny.text_files import TextFileError, read_toml
from sims.study.kinds import KindName

SEARCH = "search"
"""Name in the rows of shapes that were each trained to the end."""

DENSE = 1.0
"""Density in the rows of the dense model, which runs once per seed."""

Group = Literal["same_people", "unseen_people"]


def _part_of_a_path(name: str) -> str:
    try:
        return check_file_name("the name", name)
    except FedTinyError as error:
        raise ValueError(str(error)) from None


Name = Annotated[str, AfterValidator(_part_of_a_path)]
"""Of a data set, a method or a variant: folders are named after it."""


class Tuning(BaseModel):
    """Every method's search before the grid: the same variants, seeds and density for all.

    Attributes:
        csv: where rows go, from the checkout's root.
        accuracy: whose samples decide; not those that the study tests.
        seeds: none of the study's.
        density: of all trials (the dense model's is 1).
        variants: ``section.key=value`` by name; a method keeps the variant of the largest mean
            accuracy. One whose run fails, because the model diverges, say, is no variant to keep.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    csv: Path
    accuracy: Group
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    density: Fraction
    variants: Annotated[Mapping[Name, tuple[str, ...]], Field(min_length=1)]


class Search(BaseModel):
    """Shapes of equal bytes that are each trained to the end: what a method that finds one avoids.

    Attributes:
        settings: ``section.key=value`` for every run of it.
        shapes: the models' names, each with its width's density.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: tuple[str, ...]
    shapes: Annotated[Mapping[str, Fraction], Field(min_length=1)]


class SweepConfig(BaseModel):
    """A sweep file.

    Attributes:
        dataset: its name in the rows.
        base: config of every run, beside the sweep file.
        csv: where rows go, from the checkout's root.
        rows: what they hold.
        accuracy: whose test samples count.
        seeds, densities: of the grid.
        settings: ``section.key=value`` for every run.
        methods: by name in the rows, what ``settings`` each has of its own.
        tuning: what comes first; without it all methods have the base's settings.
        search: rows of the method ``search``, with every seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Name
    base: Path
    csv: Path
    rows: KindName = KindName.STUDY
    accuracy: Group
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    densities: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    settings: tuple[str, ...] = ()
    methods: Annotated[Mapping[Name, tuple[str, ...]], Field(min_length=1)]
    tuning: Tuning | None = None
    search: Search | None = None

    @model_validator(mode="after")
    def _tuning_sees_no_test_sample(self) -> SweepConfig:
        tuning = self.tuning
        if tuning and (tuning.accuracy == self.accuracy or {*tuning.seeds} & {*self.seeds}):
            raise ValueError("tuning needs another accuracy and other seeds than the study")
        return self


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep.

    Attributes:
        dataset, method, density, seed: of its row.
        rows: what its row holds.
        accuracy: whose test samples count.
        config: all of its settings.
    """

    dataset: str
    method: str
    density: float
    seed: int
    rows: KindName
    accuracy: str
    config: RunConfig

    @property
    def key(self) -> tuple[str, str, float, int]:
        """As that of its row."""
        return self.dataset, self.method, self.density, self.seed

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.method} {100 * self.density:g} % seed {self.seed}"


def load(path: Path) -> SweepConfig:
    """Read a sweep file.

    Raises:
        ConfigError: no such file, bad TOML, an unknown or missing key, a value out of range.
    """
    try:
        return SweepConfig.model_validate(read_toml(path, "sweep"))
    except TextFileError as error:
        raise ConfigError(str(error)) from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{path}: {'; '.join(problems)}") from None


def jobs(sweep: SweepConfig, folder: Path, tuned: Mapping[str, str] | None = None) -> list[Job]:
    """Every run, seeds outermost, so that a sweep that is stopped has whole tables of some.

    Args:
        sweep: the grid.
        folder: of the sweep file.
        tuned: each method's variant, from :func:`choose`; by default the base's settings.

    Raises:
        ConfigError: settings that are none; names the run.
    """
    variants = sweep.tuning.variants if sweep.tuning else {}
    grid: dict[tuple[str, str, float, int], Job] = {}
    for seed in sweep.seeds:
        for density in sweep.densities:
            for method in sweep.methods:
                variant = variants[tuned[method]] if tuned else ()
                job = _job(sweep, folder, method, variant, density, seed)
                grid[job.key] = job
        for job in _searched(sweep, folder, seed):
            grid[job.key] = job
    return list(grid.values())


def _searched(sweep: SweepConfig, folder: Path, seed: int) -> list[Job]:
    """The runs of the search with one seed."""
    search = sweep.search
    if search is None:
        return []
    return [
        _job(sweep, folder, SEARCH, [*search.settings, f"model.name={name}"], density, seed)
        for name, density in search.shapes.items()
    ]


def trials(sweep: SweepConfig, folder: Path) -> list[Job]:
    """Every run of the tuning; arguments and errors as for :func:`jobs`."""
    tuning = sweep.tuning
    if tuning is None:
        return []
    return [
        replace(
            _job(sweep, folder, method, settings, tuning.density, seed),
            method=trial_name(method, variant),
            rows=KindName.STUDY,
            accuracy=tuning.accuracy,
        )
        for seed in tuning.seeds
        for method in sweep.methods
        for variant, settings in tuning.variants.items()
    ]


def untried(sweep: SweepConfig, found: Sequence[Job], rows: Sequence[StudyRow]) -> list[str]:
    """Methods of which no trial of ``found`` has a row: nothing can be said of their variants."""
    return [method for method in sweep.methods if method not in choose(found, rows)]


def choose(found: Sequence[Job], rows: Sequence[StudyRow]) -> dict[str, str]:
    """Each method's best variant by the rows of the trials ``found``."""
    keys = {job.key for job in found}
    return best_variants([row for row in rows if row.key in keys])


def _job(
    sweep: SweepConfig, folder: Path, method: str, variant: Sequence[str], density: float, seed: int
) -> Job:
    def config(density: float) -> RunConfig:
        run = [f"name={method}", f"seed={seed}", f"pruning.density={density}"]
        settings = [*sweep.settings, *variant, *sweep.methods.get(method, ()), *run]
        return run_config.load(folder / sweep.base, settings)

    try:
        found = config(density)
        if found.pruning.method == "dense":
            density, found = DENSE, config(DENSE)
    except ConfigError as error:
        raise ConfigError(f"method {method}: {error}") from error
    return Job(sweep.dataset, method, density, seed, sweep.rows, sweep.accuracy, found)
