"""Checkpoints and model files: exact, repeatable, and checked when read."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import sparse_model, unnormalized

from fedtiny.config import RunConfig
from fedtiny.data.dataset import SensorSpec
from fedtiny.federation.state import CheckpointStore, ServerState
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv, Linear, Pool
from fedtiny.models.zoo.smartwatch_cnn import smartwatch_cnn
from fedtiny.runs import checkpoint
from fedtiny.runs.checkpoint import CheckpointError
from fedtiny.runs.trained_model import TrainedModel

GRAPH = smartwatch_cnn((6, 1, 128), 2)
NORMALIZATION = unnormalized(6)


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    arrays = {"x": np.float32([np.pi, -0.0]), "i": np.arange(3, dtype=np.int32)}
    checkpoint.write(path, arrays, {"round": 3, "nested": {"b": [1], "a": None}})
    read, manifest = checkpoint.read(path)
    assert manifest == {"round": 3, "nested": {"b": [1], "a": None}}
    for name, array in arrays.items():
        assert read[name].tobytes() == array.tobytes()


def test_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np; from pathlib import Path; from fedtiny.runs import checkpoint;"
        "checkpoint.write(Path(sys.argv[1]), {k: np.ones(3) for k in 'abcdef'},"
        " {k: 1 for k in 'xyzuvw'})"
    )
    files = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for file in files:
        subprocess.run([sys.executable, "-c", script, str(file)], check=True)
    assert len({file.read_bytes() for file in files}) == 1


@pytest.mark.parametrize("damage", ["truncate", "flip", "missing", "foreign"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, {"x": np.arange(100.0)}, {})
    data = bytearray(path.read_bytes())
    match damage:
        case "truncate":
            path.write_bytes(data[:-9])
        case "flip":
            data[-1] ^= 1
            path.write_bytes(data)
        case "missing":
            path.unlink()
        case "foreign":
            from safetensors.numpy import save_file

            path.with_name(path.name + ".sha256").unlink()
            save_file({"x": np.ones(2)}, path)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        checkpoint.read(path)


def test_trained_model_round_trip(tmp_path: Path) -> None:
    once = trained(GRAPH)
    path = tmp_path / "model.safetensors"
    once.save(path)
    first = path.read_bytes()
    again = TrainedModel.load(path)
    again.save(path)
    assert path.read_bytes() == first
    assert again.graph == GRAPH
    assert (again.labels, again.sensor) == (once.labels, once.sensor)
    assert again.ranges == once.ranges


def trained(graph: Graph) -> TrainedModel:
    sensor = SensorSpec(tuple("abcdef"), ("g",) * 6, (0.5,) * 6)
    ranges = dict.fromkeys(graph.observed, (-1.0, 3.0))
    return TrainedModel(
        graph, sparse_model(graph), NORMALIZATION, ranges, ("still", "moving"), sensor
    )


def test_a_model_of_ones_own_loads_where_its_builder_is_unknown(tmp_path: Path) -> None:
    swish = Activation.HARD_SWISH
    nodes = (
        Conv("stem", INPUT, 6, 8, (1, 3), activation=swish, prunable=False, trainable=False),
        Conv("body", "stem", 8, 8, (1, 3), batch_norm=False),
        Pool("pool", "body"),
        Linear("classifier", "pool", 8, 2, prunable=False),
    )
    path = tmp_path / "model.safetensors"
    own = trained(Graph("my_own", (6, 1, 32), nodes))
    own.save(path)
    script = (
        "import sys; from pathlib import Path;"
        "from fedtiny.runs.trained_model import TrainedModel;"
        "found = TrainedModel.load(Path(sys.argv[1]));"
        "found.save(Path(sys.argv[1] + '.again')); print(found.graph.to_json())"
    )
    command = [sys.executable, "-c", script, str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    assert Graph.from_json(printed) == own.graph
    assert Path(f"{path}.again").read_bytes() == path.read_bytes()


def test_files_of_an_older_fedtiny_and_of_another_graph_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model_file = trained(GRAPH)
    manifest = model_file.manifest()
    del manifest["graph"]
    checkpoint.write(path, model_file.arrays(), manifest)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: was written by an older"):
        TrainedModel.load(path)
    manifest["graph"] = smartwatch_cnn((6, 1, 128), 2, width=5).to_json()
    checkpoint.write(path, model_file.arrays(), manifest)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: does not fit its graph"):
        TrainedModel.load(path)


def test_a_store_resumes_only_its_own_model(tmp_path: Path) -> None:
    CheckpointStore(tmp_path, RunConfig(), GRAPH).save(
        ServerState(1, sparse_model(GRAPH), NORMALIZATION, {"chosen": 1})
    )
    changed = replace(GRAPH, nodes=(*GRAPH.nodes[:-1], replace(GRAPH.nodes[-1], prunable=True)))
    with pytest.raises(CheckpointError, match="holds another model"):
        CheckpointStore(tmp_path, RunConfig(), changed).latest()


def test_store_keeps_two_and_resumes_only_its_own_config(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, RunConfig(), GRAPH)
    assert store.latest() is None
    for round in range(4):
        store.save(ServerState(round, sparse_model(GRAPH), NORMALIZATION, {"chosen": 1}))
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    latest = store.latest()
    assert latest is not None
    assert (latest.round, latest.story) == (3, {"chosen": 1})
    other = CheckpointStore(tmp_path, RunConfig(seed=1), GRAPH)
    with pytest.raises(CheckpointError, match="another config"):
        other.latest()
