"""The settings of a run's data."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fedtiny.data.labels import LabelMap
from fedtiny.data.published import PUBLISHED
from fedtiny.settings import MOST

_WITH_LABELS_OF_ANY_KIND = ("npz", "idx", "csv")
_WITH_OWNERS = ("watch", "npz")
"""Sources that can say whose a sample is; all others are images of nobody in particular."""


class DataConfig(BaseModel):
    """Where the samples come from and how they are dealt to clients.

    >>> DataConfig().partitioner, DataConfig(partitioner="dirichlet", alpha=0.1).alpha
    ('natural', 0.1)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str = Field(
        "watch",
        description="watch: the smart-watch exercises in this package; npz: your own data, see "
        f"fedtiny.data.npz; {', '.join(PUBLISHED)}: a directory with that data set, or one in "
        "that format, as it is published",
    )
    path: Path | None = Field(
        None, description="npz: the file; watch: leave it out; else the directory"
    )
    label_names: tuple[str, ...] = Field(
        (), description="name of each class; empty: the source's own, or the class numbers"
    )
    label_offset: int = Field(
        0,
        gt=-(2**53),
        lt=2**53,
        description="npz, idx, csv: the label of class 0, where they do not begin with 0",
    )
    label_map: tuple[Annotated[int, Field(gt=-(2**53), lt=2**53)], ...] = Field(
        (),
        description="npz, idx, csv: the label of every class, in the order of classes, where "
        "labels have gaps",
    )
    partitioner: Literal["natural", "dirichlet", "shards", "iid"] = Field(
        "natural", description="how samples are dealt: natural is one client per owner"
    )
    partitions: int = Field(8, ge=1, le=MOST, description="number of clients")
    alpha: float = Field(
        0.5, gt=0, le=MOST, description="dirichlet: concentration; small is more unequal"
    )
    min_samples: int = Field(
        10, ge=1, le=MOST, description="dirichlet: redraw until every client has this many samples"
    )
    shards_per_client: int = Field(
        2, ge=1, le=MOST, description="shards: label-sorted slices each client receives"
    )
    window: int = Field(
        128, ge=1, le=MOST, description="watch: readings per sample, at 50 per second"
    )
    stride: int = Field(64, ge=1, le=MOST, description="watch: readings between starts of windows")
    test_fraction: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="share of a client's data never trained on; watch: the end of each recording",
    )
    development_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of each client's training data kept for selection"
    )
    public_per_class: int = Field(
        5,
        ge=5,
        le=MOST,
        description="samples per class the server pre-trains on, removed from all clients",
    )
    unseen_people: tuple[int, ...] | None = Field(
        None,
        description="owners held out whole; none given: the last two, unless the source brings "
        "its own test set",
    )
    unseen_count: int = Field(
        0,
        ge=0,
        le=MOST,
        description="owners held out whole, drawn by the run's seed, instead of unseen_people, "
        "which names them; 0: none are drawn",
    )
    limit: int | None = Field(
        None, ge=1, le=MOST, description="keep only this many training samples, drawn at random"
    )

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        if source not in (known := (*_WITH_OWNERS, *PUBLISHED)):
            raise ValueError(f"no source {source!r}; there are {', '.join(known)}")
        return source

    @field_validator("path")
    @classmethod
    def _can_be_a_path(cls, path: Path | None) -> Path | None:
        try:
            unusable = path is not None and b"\0" in os.fsencode(path)
        except UnicodeEncodeError:
            unusable = True
        if unusable:
            raise ValueError(f"no file can be called {str(path)!r}")
        return path

    @property
    def labels(self) -> LabelMap:
        """Which class a label in the source's files means."""
        return LabelMap(self.label_offset, self.label_map)

    @model_validator(mode="after")
    def _map_fits(self) -> Self:
        if self.label_offset and self.label_map:
            raise ValueError("label_offset and label_map say the same: remove one")
        if len(set(self.label_map)) < len(self.label_map):
            raise ValueError("label_map has a label twice: each class has one")
        mapped = self.label_offset or self.label_map
        if mapped and self.source not in _WITH_LABELS_OF_ANY_KIND:
            raise ValueError(
                f"source = '{self.source}' has labels of its own: remove label_offset and label_map"
            )
        if self.label_map and self.label_names and len(self.label_map) != len(self.label_names):
            raise ValueError(
                f"label_map has {len(self.label_map)} classes, label_names {len(self.label_names)}"
            )
        return self

    @model_validator(mode="after")
    def _path_fits_source(self) -> Self:
        if self.source == "watch" and self.path is not None:
            raise ValueError("source = 'watch' is part of the package: remove path")
        if self.source != "watch" and self.path is None:
            raise ValueError(f"source = '{self.source}' reads local files: set path")
        if self.unseen_count and self.unseen_people is not None:
            raise ValueError(
                "unseen_people names who is held out, unseen_count has them drawn: remove one"
            )
        if self.source not in _WITH_OWNERS and (self.unseen_count or self.unseen_people):
            raise ValueError(
                f"source = '{self.source}' has no owners, and test samples of its own: remove "
                "unseen_people and unseen_count"
            )
        if self.source not in _WITH_OWNERS and self.partitioner == "natural":
            raise ValueError(
                f"source = '{self.source}' has no owners: set partitioner to dirichlet, shards or "
                "iid"
            )
        return self
