"""The planner: what it chooses, that its plans fit, and what it says when they do not."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fedtiny.bench import synthetic
from fedtiny.cli import app
from fedtiny.devices import catalog
from fedtiny.errors import FedTinyError
from fedtiny.firmware import planner
from fedtiny.firmware.cores import Core
from fedtiny.firmware.lower import dense, fastest, lower
from fedtiny.firmware.plan import Kernel
from fedtiny.firmware.planner import DoesNotFitError, Target, fit, target_of
from fedtiny.firmware.ways import NoKernelError, ways
from fedtiny.models import build, resnet8, smartwatch_cnn
from fedtiny.models.ops import INPUT, Conv
from fedtiny.quant.integer_model import InputQuantization, IntegerGraph
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.tensors import Int8Tensor, IntegerWeight

RESNET8 = synthetic.integer_model(resnet8((1, 28, 28), 10), 0.25)
FREE = fit(RESNET8, planner.ANY_CORTEX_M4)


@settings(max_examples=12, deadline=None)
@given(st.integers(20_000, 80_000), st.integers(25_000, 90_000), st.sampled_from(list(Core)))
def test_a_plan_without_problems_fits(flash_bytes, arena_bytes, core):
    found = fit(RESNET8, Target("board", core, flash_bytes, arena_bytes))
    fits = found.plan.flash_bytes <= flash_bytes and found.plan.arena.nbytes <= arena_bytes
    assert fits == (not found.problems)
    assert found.flash_left_bytes == flash_bytes - found.plan.flash_bytes
    assert found.ram_left_bytes == arena_bytes - found.plan.arena.nbytes
    if core is Core.M4:
        assert found.plan.instructions >= 0.97 * FREE.plan.instructions


def test_less_ram_means_more_bands_not_another_result():
    tight = fit(RESNET8, Target("board", Core.M4, None, 45_000))
    assert not tight.problems
    assert tight.plan.arena.nbytes <= 45_000 < FREE.plan.arena.nbytes
    assert max(step.bands for step in tight.plan.steps) > 1
    assert tight.plan.instructions > FREE.plan.instructions


def test_less_flash_is_paid_with_instructions():
    target = Target("board", Core.M55, 40_000, None)
    dense_model = synthetic.integer_model(resnet8((1, 28, 28), 10), 0.5)
    roomy = fit(dense_model, Target("board", Core.M55))
    tight = fit(dense_model, Target("board", Core.M55, roomy.plan.flash_bytes - 2_000))
    assert tight.plan.flash_bytes <= roomy.plan.flash_bytes - 2_000
    assert tight.plan.instructions >= 0.9 * roomy.plan.instructions
    assert "prune from" in fit(dense_model, target).problems[0]


@pytest.mark.parametrize("core", list(Core))
def test_the_fastest_candidate_is_within_the_tolerance(core):
    for node in RESNET8.nodes:
        steps = ways(node, RESNET8, core, 65536)
        chosen = fastest(steps)
        fewest = min(step.instructions for step in steps)
        if chosen.streams is None:
            assert 0.9 * chosen.instructions <= fewest
            continue
        assert chosen.instructions <= 1.02 * fewest <= 0.92 * steps[0].instructions
        near = [step for step in steps if step.instructions <= 1.02 * fewest]
        assert chosen.flash_bytes == min(step.flash_bytes for step in near)


def test_each_core_gets_the_kernel_that_pays_there():
    sparse = synthetic.integer_model(resnet8((1, 28, 28), 10), 0.05)
    kernels = {
        core: {s.kernel for s in lower(sparse, core=core).steps if isinstance(s.node, IntegerConv)}
        for core in Core
    }
    assert kernels[Core.M4] == {Kernel.SPARSE_CONV_PLANAR}
    assert kernels[Core.M0] == kernels[Core.M3] == {Kernel.SPARSE_CONV}
    full = synthetic.integer_model(resnet8((3, 32, 32), 10), 1.0)
    assert Kernel.DENSE_CONV in {step.kernel for step in lower(full, core=Core.M55).steps}


def test_sparse_plans_are_predicted_to_beat_dense_ones():
    model = synthetic.integer_model(resnet8((1, 28, 28), 10), 0.05)
    assert lower(model).instructions * 8 < lower(model, dense).instructions


@pytest.mark.parametrize("board", ["stm32f407", "nrf52840"])
@pytest.mark.parametrize("graph", [resnet8((1, 28, 28), 10), smartwatch_cnn((6, 1, 128), 7)])
def test_the_small_models_fit_the_small_boards_with_room(graph, board):
    profile = catalog.get(board)
    found = fit(synthetic.integer_model(graph, 0.05), target_of(profile))
    assert found.problems == ()
    assert found.flash_left_bytes > profile.flash_bytes // 2
    assert found.ram_left_bytes > profile.ram_internal_bytes // 3


def test_refusal_names_the_layer_the_sizes_and_the_way_out():
    model = synthetic.integer_model(build("resnet18", (3, 32, 32), 10), 0.25)
    found = fit(model, target_of(catalog.get("stm32f407")))
    with pytest.raises(DoesNotFitError, match="stm32f407: flash: weights take") as refused:
        found.require()
    assert "prune from" in str(refused.value)
    assert "RAM: the arena takes" in str(refused.value)
    assert "are alive (" in str(refused.value)


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((1, 1, 65_536), Conv("long", INPUT, 1, 4, (1, 9), stride=(1, 8))),  # 1.4 s of 48 kHz
        ((1, 70_000, 1), Conv("tall", INPUT, 1, 4, (9, 1), stride=(8, 1))),
        ((3, 1, 65_530), Conv("padded", INPUT, 3, 4, (1, 3), stride=(1, 70_000), padding=(0, 9))),
        ((70_000, 1, 2), Conv("channels", INPUT, 70_000, 2, (1, 1))),
        ((2, 8_192, 16_385), Conv("huge", INPUT, 2, 1, (1, 1), stride=(64, 64))),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_layer_beyond_every_kernels_limits_is_refused_by_name(shape, layer):
    node, model = lone_conv(shape, layer)
    for core in Core:
        with pytest.raises(NoKernelError, match=f"layer '{layer.name}'.*65,535"):
            ways(node, model, core, 65536)


def test_a_layer_beyond_cmsis_nns_limits_alone_is_ours():
    """40,000 columns do not fit the int16 positions of its depthwise kernels."""
    layer = Conv("deep", INPUT, 8, 8, (1, 3), padding=(0, 1), groups=8)
    found = ways(*lone_conv((8, 1, 40_000), layer), Core.M4, 65536)
    assert {step.kernel for step in found} == {Kernel.SPARSE_DEPTHWISE}


def lone_conv(shape, layer):
    """An integer convolution of ``shape`` with one weight, without running anything."""
    sizes = zip(shape[1:], layer.padding, layer.kernel, layer.stride, strict=True)
    output = (layer.out_channels, *((n + 2 * p - k) // s + 1 for n, p, k, s in sizes))
    inner = layer.in_channels // layer.groups
    weight = IntegerWeight(
        (layer.out_channels, *layer.kernel, inner), np.zeros(1, np.int32), np.ones(1, np.int8)
    )
    zeros = np.zeros(layer.out_channels, np.int32)
    node = IntegerConv(
        layer.name, INPUT, weight, zeros, zeros, layer.stride, layer.padding, layer.groups, (0, 9)
    )
    tensors = {INPUT: Int8Tensor(shape, 0.1, 0), layer.name: Int8Tensor(output, 0.1, 0)}
    entry = InputQuantization(np.ones(shape[0], np.int32), np.zeros(shape[0], np.int64))
    return node, IntegerGraph("lone", entry, tensors, (node,), layer.name)


def test_linux_boards_are_no_targets():
    with pytest.raises(FedTinyError, match="no microcontroller"):
        target_of(catalog.get("pi_4"))


def test_export_help_names_device_and_report():
    done = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "200"})
    assert "--device" in done.output
    assert "--report" in done.output


def test_fit_reads_as_json():
    from fedtiny.export.tables import fit_dictionary

    again = json.loads(json.dumps(fit_dictionary(FREE)))
    assert again["fits"] is True
    assert again["instructions"] == sum(layer["instructions"] for layer in again["layers"])
    assert again["flash_bytes"] >= sum(layer["flash_bytes"] for layer in again["layers"])
