"""Every model at every density on this host: each layer's output equals the integer reference."""

import subprocess
from pathlib import Path

import pytest

from fedtiny.bench import synthetic
from fedtiny.boards import plan_run
from fedtiny.firmware.emit import constant_arrays, sources
from fedtiny.firmware.lower import lower
from fedtiny.firmware.vectors import vector_file
from fedtiny.models import build

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
    plan = lower(model)
    for file, text in sources(plan, synthetic.interface(model)).items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    (tmp_path / "vectors.bin").write_bytes(vector_file(model, synthetic.counts(model, vectors)))
    weights = plan_run.write_weights(constant_arrays(plan), tmp_path, ".rodata")
    command = ["gcc", "-O1", "-std=c99", "-I.", f"-I{RUNTIME / 'include'}", "main.c", "model.c"]
    command += [str(weights), "-Wl,-z,noexecstack", *map(str, kernels), "-o", "self_test"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(
        ["./self_test"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert done.stdout.splitlines() == [f"{vectors} vectors, 0 mismatches"]
