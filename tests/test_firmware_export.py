"""Exported C projects, compiled at full strictness, equal the integer reference byte for byte."""

import hashlib
import json
import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest

from fedtiny import toolchain
from fedtiny.bench import synthetic
from fedtiny.boards import elf, host
from fedtiny.errors import FedTinyError
from fedtiny.export import bundle
from fedtiny.firmware import text
from fedtiny.firmware.emit import constant_arrays
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.lower import dense, lower
from fedtiny.firmware.plan import Kernel
from fedtiny.firmware.stream_formats import WeightFormat
from fedtiny.models import ds_cnn, mobilenet_v1, resnet8, smartwatch_cnn
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Concat, Conv, Linear, Pool
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.toolchain import ToolchainError

VECTORS = 40


def every_kernel(input_shape=(3, 9, 10), classes=4):
    """Strides, paddings, groups, 1x1, max pooling, depthwise, joins, a pruned linear layer."""
    nodes = (
        Conv("stem", INPUT, 3, 8, (3, 3), padding=(0, 1, 1, 0), prunable=False),
        Conv("wide", "stem", 8, 8, (3, 5), padding=(1, 1, 0, 4), activation=Activation.NONE),
        Conv("grouped", "wide", 8, 8, (3, 3), padding=(1, 1), groups=2),
        Add("join", "grouped", "stem"),
        Conv("depth", "join", 8, 16, (3, 3), stride=(2, 2), padding=(0, 1, 0, 1), groups=8),
        Pool("again", "depth", "max", (1, 1)),
        Concat("both", ("again", "depth"), 32),
        Conv("narrow", "both", 32, 5, (1, 1), activation=Activation.NONE),
        Concat("all", ("narrow", "depth"), 21),
        Conv("point", "all", 21, 12, (1, 1), batch_norm=False),
        Pool("largest", "point", "max", (2, 2), padding=(0, 1, 1, 0)),
        Linear("hidden", "largest", 12 * 2 * 2, 20, activation=Activation.RELU),
        Linear("classifier", "hidden", 20, classes, prunable=False),
    )
    return Graph("every_kernel", input_shape, nodes)


def make_counts(model: IntegerGraph, vectors: int = VECTORS):
    return synthetic.counts(model, vectors, seed=5)


def interface_of(model: IntegerGraph) -> SensorInterface:
    channels = model.input.shape[0]
    return SensorInterface(
        tuple(f'label "{i}"?' for i in range(model.output.shape[0])),
        tuple(f"channel {i}" for i in range(channels)),
        ("acceleration, m/s²",) * channels,
    )


def export(model, directory, vectors=VECTORS, plan=None):
    counts = make_counts(model, vectors)
    return bundle.export(plan or lower(model), directory, counts, interface_of(model))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """One built project: model, directory, report, result of its check."""
    model = synthetic.integer_model(every_kernel(), 0.2)
    directory = tmp_path_factory.mktemp("project") / "firmware"
    report = export(model, directory)
    return model, directory, report, host.check(directory)


@pytest.mark.parametrize("density", [1.0, 0.25, 0.05, 0.01])
@pytest.mark.parametrize(
    "graph", [smartwatch_cnn((6, 1, 128), 7), resnet8((1, 28, 28), 10)], ids=lambda g: g.name
)
def test_models_match_at_every_density(graph, density, tmp_path):
    model = synthetic.integer_model(graph, density)
    logits = reference.run(model, make_counts(model))
    assert len(np.unique(logits, axis=0)) > VECTORS // 2, "the vectors do not tell models apart"
    report = export(model, tmp_path / "firmware")
    result = host.check(tmp_path / "firmware")
    assert (result.vectors, result.mismatches) == (VECTORS, 0)
    assert report.vectors == VECTORS


@pytest.mark.parametrize(
    "graph", [ds_cnn((1, 25, 10), 12), mobilenet_v1((3, 32, 32), 4)], ids=lambda g: g.name
)
def test_depthwise_models_match(graph, tmp_path):
    export(synthetic.integer_model(graph, 0.5), tmp_path / "firmware")
    assert host.check(tmp_path / "firmware").mismatches == 0


def choose_format(weight_format):
    def policy(candidates):
        streams = (c for c in candidates if c.streams and c.streams.format is weight_format)
        return max(
            streams, key=lambda c: c.kernel is Kernel.SPARSE_CONV_PLANAR, default=candidates[0]
        )

    policy.__name__ = weight_format.name
    return policy


POLICIES = [dense, *(choose_format(f) for f in WeightFormat if not f.has_nibbles)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.__name__)
@pytest.mark.parametrize("scratch_limit", [1, 1 << 20], ids=["one_row", "whole_map"])
def test_every_kernel_format_and_band_matches(policy, scratch_limit, tmp_path):
    model = synthetic.integer_model(every_kernel(), 0.2)
    plan = lower(model, policy, scratch_limit)
    kernels = {step.kernel for step in plan.steps}
    if policy is dense:
        assert {Kernel.DENSE_CONV, Kernel.DENSE_DEPTHWISE} <= kernels
    else:
        assert {Kernel.SPARSE_CONV_PLANAR, Kernel.SPARSE_DEPTHWISE, Kernel.SPARSE_LINEAR} <= kernels
    export(model, tmp_path / "firmware", plan=plan)
    assert host.check(tmp_path / "firmware").mismatches == 0


@pytest.mark.parametrize("weight_format", [f for f in WeightFormat if f.has_nibbles])
def test_weights_of_4_bits_match_in_every_kernel(weight_format, tmp_path):
    model = synthetic.integer_model(every_kernel(), 0.2, weight_bits=4)
    plan = lower(model, choose_format(weight_format))
    used = {
        step.kernel for step in plan.steps if step.streams and step.streams.format is weight_format
    }
    assert {Kernel.SPARSE_CONV_PLANAR, Kernel.SPARSE_DEPTHWISE, Kernel.SPARSE_LINEAR} <= used
    export(model, tmp_path / "firmware", plan=plan)
    assert host.check(tmp_path / "firmware").mismatches == 0


def test_layer_beyond_the_planar_bound_takes_the_direct_kernel(tmp_path):
    """4608 weights a channel, dense: sums leave the planar kernel's 24-bit lane."""
    graph = Graph(
        "wide",
        (2, 4, 4),
        (
            Conv("stem", INPUT, 2, 512, (1, 1), prunable=False),
            Conv("body", "stem", 512, 4, (3, 3), padding=(1, 1)),
            Pool("pool", "body"),
            Linear("classifier", "pool", 4, 3, prunable=False),
        ),
    )
    model = synthetic.integer_model(graph, 1.0)
    plan = lower(model, choose_format(WeightFormat.BITMAP))
    assert plan.steps[1].kernel is Kernel.SPARSE_CONV
    export(model, tmp_path / "firmware", plan=plan)
    assert host.check(tmp_path / "firmware").mismatches == 0


def test_project_is_clean_under_sanitizers(project):
    _, directory, _, _ = project
    result = host.check(directory, "sanitize")
    assert (result.vectors, result.mismatches) == (VECTORS, 0)


def flip_one_bit(directory, name="model_stem_multiplier"):
    """Change one bit of a constant array; its CRC-32 before and after."""
    weights = directory / "model_weights.c"
    source = weights.read_text(encoding="utf-8")
    start = re.search(name + r"\[\d+\] = \{\n", source).end()
    end = source.index("\n}", start)
    values = np.array([int(v) for v in source[start:end].split(",")], np.int32)
    flipped = values.copy()
    flipped[0] ^= 1 << 24
    literals = ", ".join(map(str, flipped.tolist()))
    weights.write_text(f"{source[:start]}{literals}{source[end:]}", encoding="utf-8")
    return zlib.crc32(values.tobytes()), zlib.crc32(flipped.tobytes())


def test_corrupt_weights_are_refused_at_init_and_found_by_the_vectors(project, tmp_path):
    model, _, _, clean = project
    assert clean.mismatches == 0
    directory = tmp_path / "firmware"
    export(model, directory)
    before, after = flip_one_bit(directory)
    with pytest.raises(ToolchainError, match="model_init: the weights are corrupt"):
        host.check(directory)
    source = (directory / "model.c").read_text(encoding="utf-8")
    assert source.count(f"0x{before:08X}") == 1
    (directory / "model.c").write_text(
        source.replace(f"0x{before:08X}", f"0x{after:08X}"), encoding="utf-8"
    )
    assert host.check(directory).mismatches > 0


def test_make_check_prints_the_verdict_and_fails_on_a_mismatch(project, tmp_path):
    model, directory, _, _ = project
    line = ["make", "check"]
    done = subprocess.run(line, cwd=directory, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0
    assert f"{VECTORS} vectors, 0 mismatches" in done.stdout
    export(model, tmp_path / "firmware", 2)
    vectors = tmp_path / "firmware" / "vectors.bin"
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    done = subprocess.run(
        line, cwd=tmp_path / "firmware", capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode != 0
    assert "2 vectors, 1 mismatches" in done.stdout


def test_flash_bytes_are_those_the_compiler_lays_down(project):
    _, directory, report, _ = project
    measured = elf.sizes([directory / "build" / "model_weights.o"])
    assert measured.code_bytes == measured.data_bytes == measured.bss_bytes == 0
    arrays = (
        (directory / "model_weights.c")
        .read_text(encoding="utf-8")
        .count("\nMODEL_WEIGHTS_ATTRIBUTE const ")
    )
    assert 0 <= measured.constant_bytes - report.flash_bytes < 32 * arrays  # alignment gaps


def test_flash_bytes_are_the_sum_of_the_constant_arrays(project):
    model, _, report, _ = project
    assert sum(a.nbytes for a in constant_arrays(lower(model))) == report.flash_bytes


def test_arena_is_all_the_memory_there_is(project):
    """No variables outside the arena: model and runtime have neither .data nor .bss."""
    _, directory, report, _ = project
    objects = [p for p in (directory / "build").glob("**/*.o") if p.name != "main.o"]
    objects = [p for p in objects if "sanitize" not in p.parts]
    measured = elf.sizes(objects)
    assert (measured.data_bytes, measured.bss_bytes) == (0, 0)
    linked = elf.needed([directory / "build" / "model.o"], objects)
    assert elf.sizes(linked).code_bytes == report.code_bytes < measured.code_bytes
    names = {path.stem for path in linked}
    assert {"model_weights", "fedtiny_sparse_fully_connected_s8", "fedtiny_crc32"} <= names
    assert not {"fedtiny_lookup_s8", "fedtiny_dense_elementwise_add_s8"} & names
    assert report.arena_bytes >= max(layer.live_bytes for layer in report.layers)


def test_pruned_layers_take_less_flash_than_dense():
    model = synthetic.integer_model(resnet8((1, 28, 28), 10), 0.05)
    assert lower(model).flash_bytes * 6 < lower(model, dense).flash_bytes


def test_export_is_reproducible(project, tmp_path):
    model, directory, report, _ = project
    again = tmp_path / "firmware"
    assert export(model, again) == report
    for name in [
        *json.loads((again / "manifest.json").read_text(encoding="utf-8"))["sha256"],
        "manifest.json",
    ]:
        assert (again / name).read_bytes() == (directory / name).read_bytes(), name


def test_manifest_lists_sizes_and_every_file(project):
    _, directory, report, _ = project
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["sizes"]["flash_bytes"] == report.flash_bytes
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest
    assert {"model.c", "model.h", "vectors.bin", "README.md"} <= manifest["sha256"].keys()


def test_header_and_readme_tell_what_a_user_needs(project):
    model, directory, report, _ = project
    header = (directory / "model.h").read_text(encoding="utf-8")
    assert f"#define MODEL_ARENA_BYTES {report.arena_bytes}" in header
    assert f"#define MODEL_CLASSES {model.output.shape[0]}" in header
    readme = (directory / "README.md").read_text(encoding="utf-8")
    assert f"| {report.flash_bytes} |" in readme
    assert "`fedtiny_sparse_depthwise_conv_s8`" in readme


def test_labels_and_units_read_back_from_c(project, tmp_path):
    model, directory, _, _ = project
    (tmp_path / "names.c").write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void) {\n'
        "for (int i = 0; i < MODEL_CLASSES; i++) puts(model_labels[i]);\n"
        "puts(model_units[0]); return 0; }\n",
        encoding="utf-8",
    )
    build = directory / "build"
    objects = [str(p) for p in build.glob("**/*.o") if p.name != "main.o"]
    objects = [o for o in objects if "sanitize" not in o]
    command = ["gcc", f"-I{directory}", "names.c", *objects, "-o", "names"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "names"], capture_output=True, check=True)
    interface = interface_of(model)
    assert done.stdout.decode().splitlines() == [*interface.labels, interface.units[0]]


def test_wrong_number_of_labels_is_refused(tmp_path):
    model = synthetic.integer_model(every_kernel(), 0.2)
    short = SensorInterface(("one",), ("x",) * 3, ("",) * 3)
    with pytest.raises(FedTinyError, match="labels: the model has 4, 1"):
        bundle.export(lower(model), tmp_path / "firmware", make_counts(model), short)
    assert not (tmp_path / "firmware").exists()


def test_export_without_vectors_is_refused(tmp_path):
    model = synthetic.integer_model(every_kernel(), 0.2)
    with pytest.raises(FedTinyError, match="at least one test window"):
        export(model, tmp_path / "firmware", 0)


def test_foreign_directory_is_not_touched(tmp_path):
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FedTinyError, match="choose another directory"):
        export(synthetic.integer_model(every_kernel(), 0.2), tmp_path)
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"


def test_missing_tool_names_its_install_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="apt-get install -y gcc"):
        host.check(tmp_path)


def test_broken_build_shows_the_compilers_words(project, tmp_path):
    model, _, _, _ = project
    export(model, tmp_path / "firmware", 1)
    (tmp_path / "firmware" / "model.c").write_text("#error broken on purpose\n", encoding="utf-8")
    with pytest.raises(ToolchainError, match="broken on purpose"):
        host.check(tmp_path / "firmware")


def test_slow_tool_is_stopped(tmp_path):
    with pytest.raises(ToolchainError, match="longer than"):
        toolchain.run_tool(["sleep", "5"], tmp_path, timeout_s=0.05)


def test_names_that_collide_in_c_are_refused():
    with pytest.raises(FedTinyError, match="rename one"):
        text.check_unique(["stage.1", "stage_1"])


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_project_builds_and_checks(project, tmp_path):
    _, directory, _, _ = project
    for command in (
        ["cmake", "-S", str(directory), "-B", "out"],
        ["cmake", "--build", "out"],
        ["ctest", "--test-dir", "out", "--output-on-failure"],
    ):
        done = toolchain.run_tool(command, tmp_path, timeout_s=120)
    assert "100% tests passed" in done.stdout
