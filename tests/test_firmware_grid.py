"""Every model at every density, and two adapted by every method, on this host: each layer's output
equals the integer reference."""

import subprocess
from pathlib import Path

import pytest
from builders import batch_of, random_model

from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.recipe import Task
from fedtiny.bench import synthetic
from fedtiny.boards import plan_run
from fedtiny.config.adapt import MethodName
from fedtiny.engine import EngineOptions, Executor, available
from fedtiny.firmware.emit import constant_arrays, sources
from fedtiny.firmware.lower import lower
from fedtiny.firmware.vectors import vector_file
from fedtiny.models import build
from fedtiny.quant.ptq import quantize

RUNTIME = Path(plan_run.__file__).parents[1] / "firmware" / "runtime"
MODELS = {
    "smartwatch_cnn": ((6, 1, 128), 7, 8),
    "resnet8": ((1, 28, 28), 10, 4),
    "ds_cnn": ((1, 49, 10), 12, 4),
    "mobilenet_v1": ((3, 64, 64), 10, 2),
    "vgg11": ((3, 32, 32), 10, 1),
    "resnet18": ((3, 32, 32), 10, 1),
}
"""(input shape, classes, vectors)"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    directory = tmp_path_factory.mktemp("kernels")
    files = [*sorted((RUNTIME / "src").glob("*.c")), *sorted((RUNTIME / "src/dense").glob("*.c"))]
    command = ["gcc", "-c", "-O2", "-std=c99", f"-I{RUNTIME / 'include'}", *map(str, files)]
    subprocess.run(command, cwd=directory, check=True)
    return sorted(directory.glob("*.o"))


LARGE = [pytest.param(name, marks=pytest.mark.firmware) for name in ("vgg11", "resnet18")]


@pytest.mark.parametrize("density", [1.0, 0.25, 0.1, 0.05, 0.01])
@pytest.mark.parametrize("name", ["smartwatch_cnn", "resnet8", "ds_cnn", "mobilenet_v1", *LARGE])
def test_every_byte_matches(name, density, kernels, tmp_path):
    shape, classes, vectors = MODELS[name]
    model = synthetic.integer_model(build(name, shape, classes), density)
    assert self_test(model, vectors, kernels, tmp_path) == f"{vectors} vectors, 0 mismatches"


def self_test(model, vectors, kernels, directory):
    """What the C program of ``model`` says of its test vectors."""
    plan = lower(model)
    for file, text in sources(plan, synthetic.interface(model)).items():
        (directory / file).write_text(text, encoding="utf-8")
    (directory / "vectors.bin").write_bytes(vector_file(model, synthetic.counts(model, vectors)))
    weights = plan_run.write_weights(constant_arrays(plan), directory, ".rodata")
    command = ["gcc", "-O1", "-std=c99", "-I.", f"-I{RUNTIME / 'include'}", "main.c", "model.c"]
    command += [str(weights), "-Wl,-z,noexecstack", *map(str, kernels), "-o", "self_test"]
    subprocess.run(command, cwd=directory, check=True)
    done = subprocess.run(
        ["./self_test"], cwd=directory, capture_output=True, encoding="utf-8", check=False
    )
    return done.stdout.strip()


BESIDE = (MethodName.LITE, MethodName.LORA, MethodName.REPNET, MethodName.REPNET_ONE_WAY)
"""Methods that add layers; the others change numbers, and ``full`` keeps its batch norms."""
WAYS = [
    pytest.param(one, marks=[] if one in BESIDE else pytest.mark.firmware) for one in MethodName
]


@pytest.mark.skipif(not available(), reason="the engine is not compiled here")
@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize("name", ["smartwatch_cnn", "resnet8"])
def test_an_adapted_model_matches(name, method, kernels, tmp_path):
    """Grouped convolutions, pools inside a network and maps made larger among the layers."""
    shape, classes, vectors = MODELS[name]
    graph = build(name, shape, classes)
    x, y = batch_of(graph, 8)
    recipe = METHODS[method](Task(graph, random_model(graph, 0.05), x, y, 0))
    executor = Executor(recipe.graph, recipe.model, recipe.options(8), lr=1e-2)
    for _ in range(3):
        executor.step(x, y)
    adapted = executor.model()
    ranges = Executor(recipe.graph, adapted, EngineOptions(8)).ranges([x])
    model = quantize(recipe.graph, adapted, synthetic.normalization(shape[0]), ranges)
    assert len(model.nodes) >= len(recipe.graph.nodes)
    assert self_test(model, vectors, kernels, tmp_path) == f"{vectors} vectors, 0 mismatches"
