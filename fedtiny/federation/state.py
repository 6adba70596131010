"""The server's state between rounds, and the checkpoints that keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedtiny.clock.state import ClockState, GraphOf, read_clock
from fedtiny.config import RunConfig, digest
from fedtiny.data.statistics import Normalization
from fedtiny.federation import checkpointed_tiers as tiers
from fedtiny.federation.described import Described, Sizes
from fedtiny.federation.parts import Statistics
from fedtiny.federation.stopping import Progress
from fedtiny.methods.method import Memory
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs import checkpoint
from fedtiny.runs.fields import Count, complaint
from fedtiny.runs.tensors import Array, CheckpointError
from fedtiny.runs.trained_model import model_arrays, read_graph, read_model, read_normalization
from fedtiny.tiers.block import block_of
from fedtiny.tiers.cut import Ranks
from fedtiny.tiers.tier import WHOLE, Tier

_KEEP = 2
_MEMORY = "memory."


@dataclass(frozen=True, slots=True, eq=False)
class ServerState:
    """Everything the next round depends on, besides the config.

    Attributes:
        round: the last finished one; 0 after preparation.
        model: global, with the masks that go out next.
        normalization: of sensor counts, merged from the devices.
        story: how the first model was chosen; JSON-able.
        memory: what the method remembers.
        described: samples of every device, as it said before round 1.
        offences: by partition, how often a device's replies were not believed.
        progress: of the training loss.
        tiers: by partition, the part of the model that a device trains; empty: all of it.
        statistics: of each tier, batch norm's own.
        ranks: of the model's weights, as of the last adjustment; empty where nobody needs them.
        clock: simulated; None without one.
        shared: the part that devices chose to be the global model; None: the largest one.
    """

    round: int
    model: SparseModel
    normalization: Normalization
    story: Mapping[str, Any]
    memory: Memory = field(default_factory=dict)
    described: Described = field(default_factory=dict)
    offences: Mapping[int, int] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    tiers: Mapping[int, Tier] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=dict)
    ranks: Ranks = field(default_factory=dict)
    clock: ClockState | None = None
    shared: Tier | None = None


@dataclass(frozen=True)
class CheckpointStore:
    """The last two states of a run, under ``folder``.

    Attributes:
        folder: ``runs/<name>/checkpoints``.
        config: a state is only read back under the config it was made with.
        graph: gives the tensors' names and shapes; a state is only read back for the same one.
    """

    folder: Path
    config: RunConfig
    graph: Graph

    def save(self, state: ServerState) -> None:
        """Write a state, then drop the oldest beyond two."""
        arrays = {
            **model_arrays(state.model),
            "input.mean": state.normalization.mean,
            "input.std": state.normalization.std,
            **{f"{_MEMORY}{name}": array for name, array in state.memory.items()},
            **tiers.arrays(state.statistics, state.ranks),
        }
        manifest: dict[str, Any] = {
            "round": state.round,
            "story": dict(state.story),
            "described": {str(k): asdict(sizes) for k, sizes in state.described.items()},
            "offences": {str(k): count for k, count in state.offences.items()},
            "progress": asdict(state.progress),
            "tiers": tiers.manifest(state.tiers),
            "shared": tiers.shared_manifest(state.shared),
            "config": digest(self.config),
            "graph": self.graph.to_json(),
        }
        if state.clock is not None:
            arrays |= state.clock.arrays(self.graph)
            manifest["clock"] = state.clock.manifest()
        checkpoint.write(self.folder / f"round-{state.round:05d}.safetensors", arrays, manifest)
        for old in self._files()[:-_KEEP]:
            old.unlink()
            old.with_name(old.name + ".sha256").unlink(missing_ok=True)

    def latest(self) -> ServerState | None:
        """The newest state; ``None`` if there is none yet.

        Raises:
            CheckpointError: it is damaged, or belongs to another config, model or FedTiny.
        """
        files = self._files()
        if not files:
            return None
        arrays, manifest = checkpoint.read(files[-1])
        graph = read_graph(files[-1], manifest)
        if manifest.get("config") != digest(self.config):
            raise CheckpointError(
                f"{files[-1]}: was made with another config; resume with the run's own "
                "config.toml, or start a new run under another name"
            )
        if graph != self.graph:
            raise CheckpointError(
                f"{files[-1]}: holds another model than {self.graph.name!r} is now; resume with "
                "the code the run was begun with, or start a new run under another name"
            )
        return _state(files[-1], graph, arrays, manifest)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("round-*.safetensors"))


_DESCRIBED = TypeAdapter(dict[Count, Sizes])
_OFFENCES = TypeAdapter(dict[Count, Count])
_PROGRESS = TypeAdapter(Progress)


def _graph_of(graph: Graph, tiers: Mapping[int, Tier]) -> GraphOf:
    smallest = min(tiers.values(), default=WHOLE)
    return lambda partition: block_of(graph, tiers.get(partition, smallest).width).graph


def _state(
    path: Path, graph: Graph, arrays: Mapping[str, Array], manifest: Mapping[str, Any]
) -> ServerState:
    try:
        round, story = manifest["round"], manifest["story"]
        normalization = read_normalization(path, graph, arrays)
        described = _DESCRIBED.validate_python(manifest["described"])
        offences = _OFFENCES.validate_python(manifest["offences"])
        progress = _PROGRESS.validate_python(manifest["progress"])
        given = tiers.read_manifest(manifest["tiers"])
        shared = tiers.read_shared(manifest["shared"])
        statistics, ranks = tiers.read_arrays(path, graph, arrays)
    except ValidationError as error:
        raise CheckpointError(f"{path}: of its devices, {complaint(error):.200}") from error
    except KeyError as error:
        raise CheckpointError(f"{path}: lacks {error}; it is no checkpoint of a run") from error
    if type(round) is not int or round < 0 or not isinstance(story, dict):
        raise CheckpointError(f"{path}: its round or its story is none: {round!s:.80}")
    memory = {k.removeprefix(_MEMORY): v for k, v in arrays.items() if k.startswith(_MEMORY)}
    model = read_model(path, graph, arrays)
    clock = None
    if "clock" in manifest:
        clock = read_clock(path, _graph_of(graph, given), arrays, manifest["clock"])
    return ServerState(
        round, model, normalization, story, memory, described, offences, progress, given,
        statistics, ranks, clock, shared,
    )  # fmt: skip
