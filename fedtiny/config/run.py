"""One frozen, typed tree describes a run: TOML in, the resolved copy saved beside the results."""

from __future__ import annotations

import difflib
import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import tomli_w
from pydantic import (
    BaseModel,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from fedtiny import methods
from fedtiny.aggregation.config import TrustConfig
from fedtiny.config.adapt import AdaptConfig
from fedtiny.config.clock import ClockConfig
from fedtiny.config.overrides import overridden, with_groups
from fedtiny.config.sections import (
    DevicesConfig,
    ExportConfig,
    FederationConfig,
    StoppingConfig,
)
from fedtiny.data.config import DataConfig
from fedtiny.errors import FedTinyError
from fedtiny.escaping.file_name import check_file_name
from fedtiny.methods import METHODS, Method, PruningSettings
from fedtiny.models.config import ModelConfig
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Shape
from fedtiny.settings import ConfigError, Section, import_own
from fedtiny.text_files import TextFileError, read_toml
from fedtiny.tiers.config import TiersConfig
from fedtiny.tiers.policy import Policy
from fedtiny.training.config import PretrainingConfig, TrainingConfig


def _declared() -> tuple[type[PruningSettings], ...]:
    """The methods' own settings, each once.

    Raises:
        TypeError: two methods declare a setting of one name.
    """
    owner: dict[str, type[PruningSettings]] = {}
    for one in dict.fromkeys(method.settings_type() for method in METHODS.values()):
        for name in one.model_fields.keys() - PruningSettings.model_fields.keys():
            if owner.setdefault(name, one) is not one:
                raise TypeError(f"{one.__name__} and {owner[name].__name__} both declare {name}")
    return tuple(dict.fromkeys(owner.values()))


class PruningConfig(*_declared()):  # type: ignore[misc]  # as many bases as methods have settings
    """The settings of all methods, so that the keys of any are known whichever is chosen."""


class RunConfig(Section):
    """Everything that determines a run's results, but for the code version.

    Attributes:
        name: of the run folder under ``runs/``, one part of a path.
        seed: of every random number.
        dense_reference: also run the same federation without pruning, for comparison.

    >>> config = RunConfig.model_validate({"name": "first", "pruning": {"density": 0.01}})
    >>> config.method.density, config.federation.rounds
    (0.01, 30)
    """

    name: str = "run"
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0  # what TOML can hold
    dense_reference: bool = False
    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    federation: FederationConfig = Field(default_factory=FederationConfig)
    stopping: StoppingConfig = Field(default_factory=StoppingConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    pretraining: PretrainingConfig = Field(default_factory=PretrainingConfig)
    pruning: SerializeAsAny[PruningSettings] = Field(default_factory=PruningConfig)
    devices: DevicesConfig = Field(default_factory=DevicesConfig)
    tiers: TiersConfig = Field(default_factory=TiersConfig)
    clock: ClockConfig = Field(default_factory=ClockConfig)
    trust: TrustConfig = Field(default_factory=TrustConfig)
    adapt: AdaptConfig = Field(default_factory=AdaptConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        try:
            return check_file_name("the run's name", name)
        except FedTinyError as error:
            raise ValueError(str(error)) from None

    @field_validator("pruning", mode="before")
    @classmethod
    def _any_method(cls, value: object) -> object:
        """Keys of every method are known, whichever is chosen."""
        if isinstance(value, PruningSettings):
            return value
        settings = PruningConfig.model_validate(value)
        import_own("pruning.module", settings.module)
        return settings

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pruning.method not in METHODS:
            raise ValueError(
                f"pruning.method: {self.pruning.method!r} is unknown; known: {', '.join(METHODS)}"
            )
        if self.pruning.stop > self.federation.rounds:
            raise ValueError(
                f"pruning.stop = {self.pruning.stop} lies beyond federation.rounds = "
                f"{self.federation.rounds}; use at most half of the rounds, or 0 for just that"
            )
        if self.federation.clients_per_round > self.data.partitions:
            raise ValueError(
                f"federation.clients_per_round = {self.federation.clients_per_round} exceeds "
                f"data.partitions = {self.data.partitions}"
            )
        if self.federation.min_clients > self.data.partitions:
            raise ValueError(
                f"federation.min_clients = {self.federation.min_clients} exceeds data.partitions = "
                f"{self.data.partitions}"
            )
        if self.federation.over_selection and not self.federation.clients_per_round:
            raise ValueError(
                "federation.over_selection asks more than federation.clients_per_round clients: "
                "set that, too"
            )
        if self.tiers.is_on and not METHODS[self.pruning.method].tiered:
            able = ", ".join(name for name, method in METHODS.items() if method.tiered)
            raise ValueError(
                f"tiers.policy = {self.tiers.policy.value!r}: devices of pruning.method = "
                f"{self.pruning.method!r} train the whole model; methods with parts: {able}"
            )
        if self.devices.size not in (None, self.data.partitions):
            raise ValueError(
                f"devices.fleet has {self.devices.size} devices, but data.partitions = "
                f"{self.data.partitions}: every partition is held by one; change the groups' "
                "counts, or data.partitions"
            )
        if self.clock.is_on and METHODS[self.pruning.method].trains_first:
            raise ValueError(
                f"clock.mode: with pruning.method = {self.pruning.method!r} devices train before "
                "round 1, where no simulated clock runs; set clock.mode = 'off'"
            )
        moves = self.method.adjusts or self.method.remasks
        self.clock.check(self.devices, self.federation, self.data.partitions, moves)
        policy = self.tier_policy
        if self.clock.mode == "buffered" and policy is not None and policy.moves:
            raise ValueError(
                "clock.mode = 'buffered' adds steps to the part that they were taken in, but with "
                f"tiers.policy = {self.tiers.policy.value!r}, tiers.restore or tiers.smaller_parts "
                "parts change from round to round: set a policy whose parts stay and leave those "
                "out, or set clock.mode = 'synchronous'"
            )
        self.adapt.check(self.federation.adapt, self.has_parts)
        if self.federation.encode and not self.tiers.is_on:
            raise ValueError(
                "federation.encode = true is for devices that can train no part of the model, and "
                "without parts a run does not begin with such: set tiers.policy, too"
            )
        nobody = [k for k in self.devices.budget_bytes if not 0 <= k < self.data.partitions]
        if nobody:
            raise ValueError(
                f"devices.budget_bytes: there is no partition {nobody[0]}: they are 0 to "
                f"data.partitions - 1 = {self.data.partitions - 1}"
            )
        return self

    def graph(self, input_shape: Shape, classes: int) -> Graph:
        """The layer graph that is trained: the model, or its narrow form of equal bytes.

        Raises:
            ConfigError: the model's module cannot be imported.
            FedTinyError: no such model, none of its widths is small enough, or the density leaves
                its layers no weights.
        """
        graph = self.method.architecture(self.model.build(input_shape, classes, self.seed))
        self.method.check(graph)
        return graph

    @property
    def tier_policy(self) -> Policy | None:
        """Who trains which part of the model; None if everybody trains all of it."""
        return self.method.policy(self.tiers)

    @property
    def has_parts(self) -> bool:
        """Whether devices may train less than the whole model."""
        return self.tier_policy is not None

    @property
    def method(self) -> Method[Any]:
        """The federated method, with its settings."""
        return methods.build(self.pruning, self.federation.rounds, self.seed)


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file and apply ``section.key=value`` overrides.

    A fleet's file and the traces that it names become part of the config.

    Raises:
        ConfigError: no such file, not UTF-8, bad TOML, an unknown key (the nearest known one is
            named), a value out of range, or a fleet that cannot be used.
    """
    try:
        tree = read_toml(path, "config")
    except TextFileError as error:
        raise ConfigError(str(error)) from error
    tree = with_groups(tree, str(path), path.parent)
    changed = with_groups(overridden(tree, overrides), "--set", Path())
    try:
        return RunConfig.model_validate(changed)
    except ValidationError as error:
        blame = _blame(error, overrides, tree, str(path))
        raise ConfigError("; ".join(blame)) from None


def parse(tree: Mapping[str, Any], source: str = "config") -> RunConfig:
    """Validate a tree of plain values.

    >>> parse({"pruning": {"densty": 0.1}})
    Traceback (most recent call last):
    ...
    fedtiny.settings.ConfigError: config: unknown key pruning.densty; did you mean density?
    """
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(text for _, text in _problems(error))
        raise ConfigError(f"{source}: {problems}") from None


def dump(config: RunConfig) -> str:
    """The resolved config as TOML; ``parse(tomllib.loads(dump(c))) == c``."""
    return tomli_w.dumps(_without_none(config.model_dump(mode="json")))


def digest(config: RunConfig) -> str:
    """SHA-256 of all that decides results: the same wherever the data and the catalogue lie."""
    data = config.data.model_copy(update={"path": None})
    devices = config.devices.model_copy(update={"catalog": ""})
    placeless = config.model_copy(update={"data": data, "devices": devices})
    return hashlib.sha256(dump(placeless).encode()).hexdigest()


def absolute(config: RunConfig) -> RunConfig:
    """``config`` with its paths as they are from here: it means the same wherever it is read."""
    data, devices = config.data, config.devices
    if data.path is not None:
        data = data.model_copy(update={"path": _absolute(data.path)})
    if devices.catalog:
        devices = devices.model_copy(update={"catalog": str(_absolute(Path(devices.catalog)))})
    return config.model_copy(update={"data": data, "devices": devices})


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _without_none(tree: Any) -> Any:  # noqa: ANN401 - any TOML value
    if isinstance(tree, dict):
        return {str(key): _without_none(value) for key, value in tree.items() if value is not None}
    if isinstance(tree, list):
        return [_without_none(value) for value in tree]
    return tree


def _blame(
    error: ValidationError, overrides: Sequence[str], tree: Mapping[str, Any], path: str
) -> Iterator[str]:
    """Each problem after what it is of: the file, or the overrides that changed it."""
    try:
        RunConfig.model_validate(tree)
        file_is_valid = True
    except ValidationError:
        file_is_valid = False
    for key, text in _problems(error):
        mine = [one for one in overrides if _concerns(one.partition("=")[0].strip(), key)]
        if not mine and file_is_valid:
            mine = list(overrides)
        yield f"{' '.join(f'--set {shlex.quote(one)}' for one in mine) or path}: {text}"


def _concerns(changed: str, key: str) -> bool:
    """Whether one of two dotted keys is the other, or a section of it."""
    return bool(key) and f"{key}.".startswith(f"{changed}.")


def _problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Key and description of each."""
    for item in error.errors():
        path = [str(part) for part in item["loc"]]
        key = ".".join(path)
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path[-1], _known_keys(path[:-1]), n=1)
            yield key, f"unknown key {key}" + (f"; did you mean {near[0]}?" if near else "")
        else:
            message = item["msg"].removeprefix("Value error, ")
            yield key, f"{key}: {message}" if key else message


def _known_keys(sections: Sequence[str]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for section in sections:
        field = model.model_fields.get(section)
        # A section's default is one of its class, which may have more keys than its annotation.
        kind = field.default_factory if field else None
        if not isinstance(kind, type) or not issubclass(kind, BaseModel):
            return []
        model = kind
    return list(model.model_fields)
