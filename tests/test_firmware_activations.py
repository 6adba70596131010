"""ReLU6 and hard-swish from the float graph to C that equals the integer reference."""

from __future__ import annotations

import numpy as np
import pytest

from fedtiny.bench import synthetic
from fedtiny.boards import host, kernels, plan_run, qemu
from fedtiny.errors import FedTinyError
from fedtiny.export import bundle
from fedtiny.firmware.cores import Core
from fedtiny.firmware.emit import constant_arrays
from fedtiny.firmware.lower import lower
from fedtiny.firmware.ops.table import OPS
from fedtiny.firmware.plan import Kernel
from fedtiny.firmware.vectors import vector_file
from fedtiny.models.graph import Graph
from fedtiny.models.op_table import OpTable, Refusal
from fedtiny.models.ops import INPUT, Add, Conv, Linear, Pool, Upsample
from fedtiny.models.ops import OPS as OPS_BY_NAME
from fedtiny.models.ops.activation import Activation
from fedtiny.quant import functions
from fedtiny.quant.integer_model import IntegerNode
from fedtiny.quant.ops import table
from fedtiny.quant.ops.lookup import IntegerLookup
from fedtiny.quant.ptq import quantize
from fedtiny.quant.tensors import Int8Tensor, QuantizationError

VECTORS = 24


def every_op(activation: Activation) -> Graph:
    """Each op that has an activation, with this one; the depthwise layer's input lives on.

    A map and a sequence are made larger on the way.
    """
    nodes = (
        Conv("stem", INPUT, 3, 8, (3, 3), padding=(1, 1), activation=activation, prunable=False),
        Conv("depth", "stem", 8, 8, (3, 3), padding=(1, 1), groups=8, activation=activation),
        Add("join", "depth", "stem", activation=activation),
        Upsample("large", "join", (13, 17)),
        Conv("point", "large", 8, 12, (1, 1), stride=(2, 2), activation=activation),
        Pool("pool", "point"),
        Conv("row", "pool", 12, 6, (1, 1), batch_norm=False, activation=Activation.NONE),
        Upsample("long", "row", (1, 5)),
        Linear("hidden", "long", 6 * 5, 20, activation=activation),
        Linear("classifier", "hidden", 20, 4, prunable=False),
    )
    return Graph(f"every_op_{activation}", (3, 9, 10), nodes)


@pytest.fixture(scope="module", params=list(Activation), ids=str)
def model(request):
    return synthetic.integer_model(every_op(request.param), 0.4)


def lookups(model):
    return [node for node in model.nodes if isinstance(node, IntegerLookup)]


@pytest.mark.firmware
def test_c_equals_the_integer_reference_under_sanitizers(model, tmp_path):
    plan, counts = lower(model), synthetic.counts(model, VECTORS)
    report = bundle.export(plan, tmp_path / "c", counts, synthetic.interface(model))
    for target in ("check", "sanitize"):
        result = host.check(tmp_path / "c", target)
        assert (result.vectors, result.mismatches) == (VECTORS, 0)
    kernels_used = {layer.name: layer.kernel for layer in report.layers}
    for node in lookups(model):
        assert kernels_used[node.name] == Kernel.LOOKUP
    expected = 5 if model.name.endswith("hard_swish") else 0
    assert len(lookups(model)) == expected


def test_flash_holds_the_tables(model):
    plan = lower(model)
    assert sum(array.nbytes for array in constant_arrays(plan)) == plan.flash_bytes
    names = [array.name for array in constant_arrays(plan)]
    for node in lookups(model):
        assert f"model_{node.name}_table" in names


def test_a_table_writes_over_the_sums(model):
    plan = lower(model)
    for node in lookups(model):
        assert plan.arena.offsets[node.name] == plan.arena.offsets[node.input]


def test_a_table_is_the_exact_function_rounded():
    source = Int8Tensor((1, 1, 1), 0.03, -20)
    output = Int8Tensor.covering((1, 1, 1), -0.375, 4.41)
    codes = np.arange(-128, 128)
    reals = 0.03 * (codes + 20)
    exact = np.where(reals <= -3, 0, np.where(reals >= 3, reals, reals * (reals + 3) / 6))
    found = output.decode(functions.table(Activation.HARD_SWISH, source, output))
    assert np.abs(found - exact).max() <= 0.5001 * output.scale


def test_relu6_clamps_at_six():
    model = synthetic.integer_model(every_op(Activation.RELU6), 0.4)
    low, high = model.nodes[0].clamp
    ends = model.tensors["stem"].decode(np.array([low, high], np.int8))
    np.testing.assert_allclose(ends, [0, 6], atol=model.tensors["stem"].scale / 2)
    assert high < 127


def test_the_range_before_a_table_is_asked_for():
    graph = every_op(Activation.HARD_SWISH)
    ranges = dict.fromkeys(graph.observed, (-1.0, 1.0))
    del ranges["depth.linear"]
    normalization = synthetic.normalization(3)
    with pytest.raises(QuantizationError, match=r"no calibration range for depth\.linear"):
        quantize(graph, synthetic.float_model(graph, 0.4), normalization, ranges)


@pytest.mark.firmware
@pytest.mark.parametrize(
    ("machine", "core"),
    [
        ("qemu-m0", Core.M0),
        ("qemu-m3", Core.M3),
        ("qemu-m4", Core.M4),
        ("qemu-m33", Core.M4),
        ("qemu-m55", Core.M55),
    ],
)
def test_boards_agree_and_take_the_instructions_predicted(machine, core, tmp_path):
    model = synthetic.integer_model(every_op(Activation.HARD_SWISH), 0.4)
    plan, target = lower(model, core=core), qemu.machine(machine)
    compiled = kernels.compile_portable(target, tmp_path / "kernels")
    vectors = vector_file(model, synthetic.counts(model, 2))
    result = plan_run.run(plan, target, compiled, vectors, tmp_path / "run")
    assert (result.vectors, result.mismatches) == (2, 0)
    for step, count in zip(plan.steps, result.layers, strict=True):
        if step.kernel in (Kernel.LOOKUP, Kernel.UPSAMPLE) and step.node.name != "hidden":
            off = abs(step.instructions - count.instructions) - target.tick_ns  # the clock's step
            assert off < 0.15 * count.instructions


def members(union):
    return union.__args__


@pytest.mark.parametrize(
    ("of", "ops"),
    [
        (table.QUANTIZE, OPS_BY_NAME.values()),
        (table.RUN, members(IntegerNode)),
        (OPS, members(IntegerNode)),
    ],
    ids=["quantize", "reference", "firmware"],
)
def test_every_op_has_every_pass_or_a_reason(of, ops):
    assert of.missing(ops) == set()
    reasons = [entry.reason for entry in of.entries.values() if isinstance(entry, Refusal)]
    assert all(reasons)


@pytest.mark.parametrize("activation", list(Activation), ids=str)
def test_activations_that_only_clamp_say_so(activation):
    """What ``clamps`` promises: between its ends it is the identity, and it is monotone."""
    x = np.linspace(-20, 20, 4001)
    y = activation(x)
    clipped = np.clip(x, y.min(), y.max())
    assert np.array_equal(y, clipped) == activation.clamps


def test_a_refusal_names_the_node_and_the_reason():
    refusing = OpTable("emission", {Pool: Refusal("there is no kernel")})
    with pytest.raises(FedTinyError, match=r"emission refuses 'p' \(Pool\): there is no kernel"):
        refusing.entry(Pool, "p")
