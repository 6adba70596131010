"""Exported projects linked with CMSIS-NN: the wheel's 4.0, and one with later releases' rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from fedtiny.bench import firmware_table, synthetic
from fedtiny.bench.firmware import bench_firmware
from fedtiny.boards import cmsis_nn, kernels, plan_run, qemu
from fedtiny.boards.step_failure import StepFailedError
from fedtiny.boards.verify import verify_targets
from fedtiny.cli import app
from fedtiny.errors import FedTinyError
from fedtiny.export import bundle
from fedtiny.firmware.cores import Core
from fedtiny.firmware.lower import dense, fastest, lower
from fedtiny.firmware.plan import Kernel
from fedtiny.firmware.vectors import vector_file
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Pool

LATER = {
    "ConvolutionFunctions/arm_convolve_s8.c": (
        ("(col_length + 7) / 8", "(col_length + 15) / 16"),
        ("4 * col_length * 8", "4 * col_length * 16"),
    ),
    "ConvolutionFunctions/arm_convolve_1_x_n_s8.c": (
        (
            "conv_params->dilation.w != 1)",
            "conv_params->dilation.w != 1 || 2 * conv_params->padding.w + TOTAL % 2 != TOTAL)",
        ),
        (
            '#include "arm_nnfunctions.h"',
            '#include "arm_nnfunctions.h"\n#define TOTAL ((output_dims->w - 1) * '
            "conv_params->stride.w + filter_dims->w - input_dims->w)",
        ),
    ),
}
"""What turns 4.0 into a library that asks and refuses as 4.1 (rows) and 6.0 (patches of 16) do."""


def conv(name, source, size, outputs, kernel, stride=(1, 1), padding=(0, 0), groups=1):
    return Conv(name, source, size, outputs, kernel, stride=stride, padding=padding, groups=groups)


def depthwise_net(kernel, channels, stride=1):
    """A dense depthwise layer between two pointwise ones."""
    padding = tuple(k // 2 for k in kernel)
    return Graph(
        f"depthwise_{kernel[0]}x{kernel[1]}_{channels}",
        (3, 9, 8),
        (
            conv("stem", INPUT, 3, channels, (1, 1)),
            conv("depth", "stem", channels, channels, kernel, (stride, stride), padding, channels),
            conv("point", "depth", channels, 6, (1, 1)),
            Pool("pool", "point"),
            Linear("classifier", "pool", 6, 4, prunable=False),
        ),
    )


def patch_net(channels, kernel=(3, 3)):
    """Patches of ``kh · kw · channels`` values."""
    padding = tuple(k // 2 for k in kernel)
    return Graph(
        f"patch_{kernel[0]}x{kernel[1]}x{channels}",
        (channels, 8, 7),
        (
            conv("first", INPUT, channels, 5, kernel, padding=padding),
            Pool("pool", "first"),
            Linear("classifier", "pool", 5, 4, prunable=False),
        ),
    )


def row_net(width, kernel, stride, padding):
    """One row: sensor windows."""
    return Graph(
        f"row_{width}_{kernel}_{stride}_{padding}",
        (4, 1, width),
        (
            conv("first", INPUT, 4, 8, (1, kernel), (1, stride), (0, padding)),
            conv("second", "first", 8, 12, (1, 3), (1, 2), (0, 1)),
            Pool("pool", "second"),
            Linear("classifier", "pool", 12, 4, prunable=False),
        ),
    )


def one_sided_net():
    """Windows that overhang one side only, as TensorFlow's SAME at stride 2 on even sides."""
    return Graph(
        "one_sided",
        (3, 10, 12),
        (
            conv("first", INPUT, 3, 8, (3, 3), (2, 2), (0, 1, 0, 1)),
            conv("depth", "first", 8, 8, (3, 3), (2, 2), (0, 1, 1, 0), groups=8),
            conv("wide", "depth", 8, 8, (5, 5), padding=(2, 2, 1, 2), groups=8),
            Pool("mean", "wide", "avg", (3, 1), (3, 1), padding=(0, 1, 0, 0)),
            conv("row", "mean", 8, 4, (1, 2), padding=(0, 0, 0, 1)),
            Linear("classifier", "row", 8, 4, prunable=False),
        ),
    )


NETS = {
    graph.name: graph
    for graph in (
        build("mobilenet_v1", (3, 32, 32), 4),
        build("smartwatch_cnn", (6, 1, 128), 7),
        *(depthwise_net((3, 3), 124), depthwise_net((5, 5), 16), depthwise_net((3, 3), 130, 2)),
        *(depthwise_net((1, 7), 8), patch_net(1), patch_net(5), patch_net(2, (1, 3))),
        *(row_net(64, 5, 2, 2), row_net(63, 5, 2, 2), row_net(40, 7, 1, 3), row_net(50, 3, 3, 0)),
        one_sided_net(),
    )
}
CASES = [
    ("mobilenet_v1", 0.05, fastest),
    *(("smartwatch_cnn", density, fastest) for density in (0.2, 0.35, 0.5)),
    ("smartwatch_cnn", 1.0, dense),
    *((name, 1.0, dense) for name in list(NETS)[2:]),
]
"""(net, density, how kernels are chosen); the plans are for an M4, as a default export's."""


@pytest.fixture(scope="session")
def later(tmp_path_factory):
    """A tree of 4.0's sources with the rules of later releases, as a user's own would lie."""
    try:
        source = cmsis_nn.wheel().include[0].parent
    except FedTinyError as missing:
        pytest.skip(str(missing))
    directory = tmp_path_factory.mktemp("later") / "CMSIS-NN"
    shutil.copytree(source, directory)
    shutil.copytree(source.parent / "cmsis_core", directory.parent / "CMSIS" / "Core")
    for name, changes in LATER.items():
        text = (directory / "Source" / name).read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (directory / "Source" / name).write_text(text, encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def linked(tmp_path_factory, later):
    """Kernels of an M55 with either library, compiled once."""
    target, built = qemu.machine("qemu-m55"), {}
    for name, library in (("4.0", cmsis_nn.wheel()), ("later", cmsis_nn.tree(later))):
        directory = tmp_path_factory.mktemp(name)
        built[name] = kernels.compile_with_cmsis_nn(target, directory, library)
    return built


@pytest.mark.firmware
@pytest.mark.parametrize("release", ["4.0", "later"])
@pytest.mark.parametrize(
    ("name", "density", "policy"), CASES, ids=lambda value: getattr(value, "__name__", None)
)
def test_every_byte_matches_on_an_m55(name, density, policy, release, linked, tmp_path):
    model = synthetic.integer_model(NETS[name], density)
    plan = lower(model, policy)
    vectors = vector_file(model, synthetic.counts(model, 3))
    result = plan_run.run(plan, qemu.machine("qemu-m55"), linked[release], vectors, tmp_path)
    assert (result.vectors, result.mismatches) == (3, 0)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    model = synthetic.integer_model(NETS["mobilenet_v1"], 0.05)
    directory = tmp_path_factory.mktemp("project") / "firmware"
    bundle.export(lower(model), directory, synthetic.counts(model, 4), synthetic.interface(model))
    return directory


@pytest.mark.firmware
def test_verify_links_the_wheel_and_a_tree(project, later):
    for place in (cmsis_nn.WHEEL, str(later)):
        command = ["verify", str(project), "--target", "qemu-m55", "--cmsis-nn", place]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert "qemu-m55: 4 vectors, 0 mismatches" in done.output


@pytest.mark.firmware
def test_a_tree_of_the_users_is_the_dense_opponent(later, tmp_path):
    """Its rows are columns where its rules refuse rows: more instructions than the wheel's 4.0."""
    tree = tmp_path / "CMSIS-NN"
    shutil.copytree(later, tree)
    shutil.copytree(later.parent / "CMSIS", tmp_path / "CMSIS")
    results = [
        bench_firmware(NETS["smartwatch_cnn"], 0.05, "m55", library=place)
        for place in (cmsis_nn.WHEEL, str(tree))
    ]
    wheel, own = (result.total.instructions["cmsis_nn"] for result in results)
    assert [result.total.mismatches for result in results] == [0, 0]
    assert [result.cmsis_nn for result in results] == [cmsis_nn.WHEEL, str(tree)]
    assert own > 1.1 * wheel


def test_the_table_has_both_opponents_and_says_which_was_measured_apart():
    network = firmware_table.NETWORKS[1]
    total = SimpleNamespace(
        instructions={"ours": 2_000_000, "cmsis_nn": 8_000_000},
        ratio=4.0, flash_bytes={"ours": 1024, "dense": 4096}, mismatches=0, cycles=None,
    )  # fmt: skip
    row = firmware_table.Row(network, "m55", 0.05, SimpleNamespace(total=total))
    text = firmware_table.markdown([row])
    assert "| 2.00 M | 8.00 M | 4.0× | 3.77 M | **1.9×** |" in text
    assert "measured apart" in text.splitlines()[0]


@pytest.mark.firmware
def test_a_library_that_wants_more_scratch_is_named_with_the_step(project, later, tmp_path):
    greedy = tmp_path / "CMSIS-NN"
    shutil.copytree(later, greedy)
    shutil.copytree(later.parent / "CMSIS", tmp_path / "CMSIS")
    path = greedy / "Source" / "ConvolutionFunctions" / "arm_depthwise_conv_s8_opt.c"
    text = path.read_text(encoding="utf-8").replace(
        "4 * CH_IN_BLOCK_MVE *", "5 * CH_IN_BLOCK_MVE *"
    )
    path.write_text(text, encoding="utf-8")
    message = r"qemu-m55: step '\w+\.depthwise' failed with status -4: .*asks for more scratch"
    with pytest.raises(StepFailedError, match=message):
        verify_targets(project, ["qemu-m55"], 2, library=str(greedy))


CALLER = """
#include <stdio.h>
#include "model.h"
static int8_t arena[MODEL_ARENA_BYTES] __attribute__((aligned(MODEL_ARENA_ALIGNMENT)));
int main(void)
{
    const int32_t status = model_invoke(arena), nowhere = model_run_step(MODEL_STEPS, arena);
    printf("%s %d %d %d\\n", model_step_names[MODEL_FAILED_STEP(status)],
           (int)MODEL_KERNEL_STATUS(status), (int)MODEL_FAILED_STEP(nowhere),
           (int)MODEL_KERNEL_STATUS(MODEL_OK));
    return 0;
}
"""


@pytest.mark.parametrize("position", [0, 2, -1])
def test_a_kernel_that_refuses_names_its_step(project, position, tmp_path):
    """On the host, in the self-test and in the C interface: too little scratch is lent."""
    broken = tmp_path / "firmware"
    shutil.copytree(project, broken)
    code = (broken / "model.c").read_text(encoding="utf-8")
    functions = code.split("static arm_cmsis_nn_status run_")
    lent = [i for i, text in enumerate(functions) if i and "const cmsis_nn_context ctx" in text]
    chosen = lent[position]
    functions[chosen] = re.sub(r"\.size = \d+", ".size = 8", functions[chosen], count=1)
    (broken / "model.c").write_text(
        "static arm_cmsis_nn_status run_".join(functions), encoding="utf-8"
    )
    manifest = json.loads((broken / "manifest.json").read_text(encoding="utf-8"))
    name = manifest["sizes"]["layers"][chosen - 1]["name"]
    with pytest.raises(StepFailedError, match=f"host: step '{name}' failed with status -1"):
        verify_targets(broken, ["host"], 1)
    (broken / "caller.c").write_text(CALLER, encoding="utf-8")
    sources = ["model.c", "model_weights.c", "caller.c"]
    sources += [str(path) for path in (broken / "fedtiny_nn" / "src").rglob("*.c")]
    command = ["gcc", "-std=c99", "-I.", "-Ifedtiny_nn/include", *sources, "-o", "caller"]
    subprocess.run(command, cwd=broken, check=True)
    done = subprocess.run(
        ["./caller"], cwd=broken, check=True, capture_output=True, encoding="utf-8"
    )
    assert done.stdout == f"{name} -1 -1 0\n"


def test_a_folder_that_is_no_cmsis_nn_is_refused_before_anything_is_built(tmp_path):
    with pytest.raises(FedTinyError, match=r"is no CMSIS-NN: it has no Include/arm_nnfunctions\.h"):
        verify_targets(tmp_path, ["qemu-m55"], 1, library=str(tmp_path))
    (tmp_path / "Include").mkdir()
    (tmp_path / "Include" / "arm_nnfunctions.h").touch()
    with pytest.raises(FedTinyError, match=r"it has no Source/…/arm_convolve_wrapper_s8\.c"):
        cmsis_nn.tree(tmp_path)
    with pytest.raises(FedTinyError, match="name the folder that holds"):
        cmsis_nn.tree(tmp_path / "nowhere")
    done = CliRunner().invoke(app, ["bench", "firmware", "--cmsis-nn", str(tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert "is no CMSIS-NN" in done.output


def test_missing_headers_of_the_core_are_named(later, tmp_path):
    alone = tmp_path / "deep" / "CMSIS-NN"
    shutil.copytree(later, alone)
    with pytest.raises(FedTinyError, match=r"includes CMSIS-Core's cmsis_compiler\.h"):
        cmsis_nn.tree(alone)


def test_the_host_cannot_link_it(tmp_path):
    with pytest.raises(FedTinyError, match="linked for Cortex-M only"):
        verify_targets(tmp_path, ["host", "qemu-m55"], 1, library=cmsis_nn.WHEEL)


def test_only_int8_and_support_sources_are_compiled(later, tmp_path):
    tree = tmp_path / "CMSIS-NN"
    shutil.copytree(later, tree)
    shutil.copytree(later.parent / "CMSIS", tmp_path / "CMSIS")
    for name in ("arm_convolve_f16.c", "arm_convolve_s4.c", "arm_convolve_s16.c", "arm_svdf_s8.c"):
        (tree / "Source" / "ConvolutionFunctions" / name).touch()
    names = {path.name for path in cmsis_nn.tree(tree).sources}
    before = {path.name for path in cmsis_nn.tree(later).sources}
    assert names - before == {"arm_svdf_s8.c"}
    assert len(before) == 21 + 1  # and the wheel's own memory functions
    assert all(Path(name).suffix == ".c" for name in names)


@pytest.mark.parametrize("core", list(Core))
def test_scratch_does_not_depend_on_the_core(core):
    """A project made for one core may be compiled for another."""
    model = synthetic.integer_model(NETS["mobilenet_v1"], 0.5)
    plans = lower(model, dense, core=core), lower(model, dense, core=Core.M4)
    found, usual = ([step.scratch_bytes for step in plan.steps] for plan in plans)
    assert found == usual
    assert Kernel.DENSE_DEPTHWISE in {step.kernel for step in plans[0].steps}
