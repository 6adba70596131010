"""``fedtiny export --tflite``: TensorFlow Lite Micro's bytes, and what is not taken is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("tflite", reason="pip install tflite flatbuffers")

from tflite_nets import RELU, Layers, every_operator, tiny
from tflite_writer import VALID, interpreter

from fedtiny.cli import app
from fedtiny.errors import FedTinyError
from fedtiny.firmware import load
from fedtiny.importing.one_shot import prunable
from fedtiny.importing.tflite_assembly import NO_PADS, Assembly
from fedtiny.importing.tflite_model import OPERATORS, assemble, read_model
from fedtiny.importing.tflite_source import read_tflite
from fedtiny.models.ops import INPUT
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.lookup import IntegerLookup


def written(raw: bytes, folder: Path) -> Path:
    path = folder / "net.tflite"
    path.write_bytes(raw)
    return path


def compared(raw: bytes, graph: IntegerGraph, assembly: Assembly, codes: np.ndarray) -> set[int]:
    """Every tensor that both have, byte for byte; their indices."""
    pytest.importorskip("tflite_micro", reason="its wheels are for x86-64 Linux only")
    ours = {INPUT: codes, **dict(reference.trace(graph, codes))}
    runner, seen = interpreter(raw, keep=True), set()
    ends = {op.outputs[0] for op in assembly.model.operators if op.kind == "SOFTMAX"}
    for number, sample in enumerate(codes):
        runner.set_input(sample.reshape(assembly.model.tensors[0].shape), 0)
        runner.invoke()
        for index, value in assembly.values.items():
            if value.pads == NO_PADS and index not in ends:
                theirs = runner.GetTensor(index, 0)["tensor_data"]
                np.testing.assert_array_equal(
                    ours[value.name][number].reshape(theirs.shape), theirs, str(index)
                )
                seen.add(index)
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_every_tensor_of_every_operator_is_tflite_micros(seed: int, tmp_path: Path) -> None:
    raw = every_operator(seed)
    graph, assembly = assemble(written(raw, tmp_path))
    kinds = {operator.kind for operator in assembly.model.operators}
    shapes = {"DEQUANTIZE", "EXPAND_DIMS", "SQUEEZE", "PACK", "SHAPE", "STRIDED_SLICE"}
    assert kinds == OPERATORS.keys() - shapes - {"RELU6", "HARD_SWISH"}
    codes = np.random.default_rng(seed).integers(-128, 128, (20, 10, 12, 3)).astype(np.int8)
    assert len(compared(raw, graph, assembly, codes)) == len(assembly.values) - 2  # PAD, SOFTMAX
    logits = reference.infer(graph, codes)
    assert len(np.unique(logits, axis=0)) > 10, "the samples do not tell anything apart"


@pytest.mark.parametrize("function", ["LOGISTIC", "TANH", "RELU", "RELU6", "HARD_SWISH"])
@pytest.mark.parametrize("scale", [0.004, 0.031, 0.09, 0.3])
def test_tables_are_tflite_micros_for_every_code(
    function: str, scale: float, tmp_path: Path
) -> None:
    net = Layers()
    entry = net.variable((1, 256), scale, 11)
    fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0), "RELU6": (scale, 11)}
    result = net.variable((1, 256), *fixed.get(function, (scale * 0.7, -30)))
    version = 2 if function in ("LOGISTIC", "TANH") else 1
    raw = net.model([entry], [net.operator(function, [entry], result, version)])
    graph, assembly = assemble(written(raw, tmp_path))
    assert [type(node) for node in graph.nodes] == [IntegerLookup]
    codes = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, 1, 256)
    assert compared(raw, graph, assembly, codes) == {0, 1}


def test_an_export_is_the_networks_own_bytes_in_c(tmp_path: Path) -> None:
    path, out = written(every_operator(5), tmp_path), tmp_path / "firmware"
    done = CliRunner().invoke(app, ["export", "--tflite", str(path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "16 vectors, 0 mismatches" in done.output
    assert "softmax at the end is left out" in done.output
    counts = np.random.default_rng(1).integers(-128, 128, (30, 3, 10, 12))
    graph, _ = read_model(path)
    expected = reference.infer(graph, counts.transpose(0, 2, 3, 1).astype(np.int8))
    np.testing.assert_array_equal(load(out).logits(counts), expected)


def test_pruning_in_one_shot_says_so_and_keeps_the_largest(tmp_path: Path) -> None:
    path = written(every_operator(3), tmp_path)
    samples = tmp_path / "samples.npz"
    x = np.random.default_rng(2).integers(-128, 128, (40, 3, 10, 12)).astype(np.int16)
    whole, _ = read_model(path)
    y = reference.run(whole, x).argmax(axis=1)
    scale = np.full(3, whole.input.scale)
    np.savez(samples, x=x, y=y, scale=scale, offset=-scale * whole.input.zero_point)
    command = ["export", "--tflite", str(path), "--prune", "0.1", "--calibration", str(samples)]
    command += ["--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["accuracies"]["as it came"] == 1.0 >= found["accuracies"]["int8"]
    assert "pruned in one shot" in found["remarks"][-1]
    assert (found["vectors"], found["mismatches"]) == (40, 0)
    sparse = read_tflite(path, prune=0.1).integer
    for before, after in zip(prunable(whole), prunable(sparse), strict=True):
        assert after.weight.nnz == max(1, round(0.1 * before.weight.to_dense().size))
        kept = np.isin(before.weight.indices, after.weight.indices)
        assert after.weight.indices.size == kept.sum()
        if len(np.unique(before.multiplier)) == 1:  # one scale: none that goes is larger
            values = np.abs(before.weight.values.astype(int))
            assert values[kept].min() >= values[~kept].max()
    ends = (whole.layers[0], whole.layers[-1])
    for end, same in zip(ends, (sparse.layers[0], sparse.layers[-1]), strict=True):
        np.testing.assert_array_equal(end.weight.values, same.weight.values)


Build = Callable[[Layers], bytes]


def after(build: Callable[[Layers, int], int]) -> Build:
    """A model of an input (1, 8, 8, 4) and what ``build`` makes of it."""

    def raw(net: Layers) -> bytes:
        entry = net.variable((1, 8, 8, 4), 0.05, 3)
        return net.model([entry], [build(net, entry)])

    return raw


def of_kind(kind: str) -> Build:
    def raw(net: Layers) -> bytes:
        entry = net.tensor((1, 4), 0.1, kind=kind)
        return net.model([entry], [net.operator("RELU", [entry], net.tensor((1, 4), 0.1))])

    return raw


def two_inputs(net: Layers) -> bytes:
    entries = [net.variable((1, 4)), net.variable((1, 4))]
    return net.model(entries, [net.operator("ADD", entries, net.variable((1, 4)))])


def dynamic(net: Layers) -> bytes:
    entry = net.tensor((1, 8, 8, 4), 0.05, signature=(-1, -1, 8, 4))
    return net.model([entry], [net.operator("RELU", [entry], net.variable((1, 8, 8, 4)))])


def softmax_inside(net: Layers) -> bytes:
    entry = net.variable((1, 4))
    inside = net.operator("SOFTMAX", [entry], net.variable((1, 4), 1 / 256, -128), Beta=1.0)
    return net.model([entry], [net.linear(inside, 4, (1, 2))])


def padded_pool(net: Layers, entry: int) -> int:
    around = net.whole([[0, 0], [1, 1], [1, 1], [0, 0]])
    padded = net.operator("PAD", [entry, around], net.variable((1, 10, 10, 4), 0.05, 3))
    return net.pool("MAX_POOL_2D", padded, net.variable((1, 5, 5, 4), 0.05, 3), 2, 2)


def skewed(net: Layers, entry: int) -> int:
    weights = net.tensor((2, 256), 0.01, 5, data=np.ones((2, 256), np.int8))
    return net.operator("FULLY_CONNECTED", [entry, weights, -1], net.variable((1, 2)))


def variable_weights(net: Layers, entry: int) -> int:
    return net.operator("FULLY_CONNECTED", [entry, entry, -1], net.variable((1, 2)))


def constant_sum(net: Layers, entry: int) -> int:
    held = net.tensor((1, 8, 8, 4), 0.1, data=np.ones((1, 8, 8, 4), np.int8))
    return net.operator("ADD", [entry, held], net.variable((1, 8, 8, 4)))


def wrong_shape(net: Layers, entry: int) -> int:
    return net.conv(entry, (2, 3, 3, 4), (1, 8, 7, 2))


def reshaped_map(net: Layers, entry: int) -> int:
    first = net.conv(entry, (4, 1, 1, 4), (1, 8, 8, 4))
    seen = net.tensor((1, 4, 16, 4), net.scales[first], 0)
    again = net.operator("QUANTIZE", [first], net.variable((1, 8, 8, 4), net.scales[first], 0))
    net.operator("RESHAPE", [again, net.whole([1, 4, 16, 4])], seen)
    net.scales[seen] = net.scales[first]
    return net.conv(seen, (4, 3, 3, 4), (1, 4, 16, 4))


REFUSED: list[tuple[str, Build, str]] = [
    ("float", of_kind("FLOAT32"), "FLOAT32, not INT8; convert with full integer quantization"),
    ("int16", of_kind("INT16"), "INT16, not INT8"),
    ("two inputs", two_inputs, "2 inputs and 1 outputs"),
    ("two subgraphs", lambda net: net.model([], [], subgraphs=2), "2 subgraphs"),
    ("no operators", lambda net: net.model([net.variable((1, 2))], [0]), "no operators"),
    ("dynamic", dynamic, "dynamic shape; convert with fixed shapes"),
    ("softmax inside", softmax_inside, "read by FULLY_CONNECTED; softmax is taken at the end"),
    (
        "dilation",
        after(lambda net, x: net.conv(x, (2, 3, 3, 4), (1, 4, 4, 2), 1, VALID, dilation=2)),
        "CONV_2D .*a dilated kernel; train with dilation 1",
    ),
    ("padded pool", after(padded_pool), "MAX_POOL_2D .*reads the result of a PAD"),
    ("skewed weights", after(skewed), "zero points other than 0; weights are symmetric"),
    ("variable weights", after(variable_weights), "is a variable, not a constant of INT8"),
    ("constant sum", after(constant_sum), "adds a constant; fold constants into the biases"),
    ("wrong shape", after(wrong_shape), r"has the shape \(2, 8, 7\) .*expected \(2, 8, 8\)"),
    ("reshaped map", after(reshaped_map), "a RESHAPE is taken before fully-connected"),
    (
        "odd activation",
        after(lambda net, x: net.conv(x, (2, 1, 1, 4), (1, 8, 8, 2), activation=4)),
        "a fused activation of number 4; none, relu, relu6",
    ),
    (
        "concatenated rows",
        after(
            lambda net, x: net.operator(
                "CONCATENATION", [x, x], net.variable((1, 16, 8, 4), 0.05, 3), Axis=1
            )
        ),
        "it joins 2 tensors along axis 1; only channels are",
    ),
    (
        "a product",
        after(lambda net, x: net.operator("MUL", [x, x], net.variable((1, 8, 8, 4)))),
        "operator 0, MUL .*it is not taken; fold factors into the weights",
    ),
    (
        "mean of channels",
        after(lambda net, x: net.operator("MEAN", [x, net.whole([3])], net.variable((1, 8, 8, 1)))),
        r"a mean over axes \[3\] of 4; only height and width together",
    ),
    (
        "another scale",
        after(
            lambda net, x: net.pool("AVERAGE_POOL_2D", x, net.variable((1, 4, 4, 4), 0.06, 3), 2, 2)
        ),
        "scales 0.05 and 0.06 or zero points that differ",
    ),
    (
        "corners",
        after(
            lambda net, x: net.operator(
                "RESIZE_NEAREST_NEIGHBOR",
                [x, net.whole([11, 11])],
                net.variable((1, 11, 11, 4), 0.05, 3),
                AlignCorners=1,
            )
        ),
        r"\(8, 8\) into \(11, 11\) by other cells .*whole factors, without align_corners",
    ),
    (
        "padded channels",
        after(
            lambda net, x: net.operator(
                "PAD",
                [x, net.whole([[0, 0], [0, 0], [0, 0], [0, 1]])],
                net.variable((1, 8, 8, 5), 0.05, 3),
            )
        ),
        "only height and width are padded",
    ),
    (
        "a map",
        after(lambda net, x: net.conv(x, (2, 1, 1, 4), (1, 8, 8, 2), activation=RELU)),
        "output is a map of .*; end it with a mean, a pooling",
    ),
    (
        "a batch",
        lambda net: net.model(
            [net.variable((2, 4))], [net.operator("RELU", [0], net.variable((2, 4)))]
        ),
        "only a batch of 1 is taken",
    ),
]


@pytest.mark.parametrize(("name", "build", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_is_not_taken_is_named(name: str, build: Build, words: str, tmp_path: Path) -> None:
    path = written(build(Layers()), tmp_path)
    with pytest.raises(FedTinyError, match=words) as refusal:
        read_model(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "lacks the identifier"),
        (b"\x1c\0\0\0TFL3", "is damaged"),
        (b"x" * 4000, "lacks the identifier"),
        (tiny()[:200], "is damaged"),
    ],
)
def test_what_is_no_tflite_file_is_refused(raw: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(FedTinyError, match=rf"net\.tflite: .*{words}"):
        read_model(written(raw, tmp_path))


def test_a_missing_file_and_samples_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(FedTinyError, match=r"nowhere\.tflite: cannot be read"):
        read_model(tmp_path / "nowhere.tflite")
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.zeros((3, 6, 6, 2), np.int16))
    with pytest.raises(FedTinyError, match=r"transpose\(0, 3, 1, 2\)"):
        read_tflite(written(tiny(), tmp_path), samples)
    with pytest.raises(FedTinyError, match="no prunable layers"):
        read_tflite(written(tiny(), tmp_path), prune=0.5)


def test_the_command_wants_one_network(tmp_path: Path) -> None:
    path = written(tiny(), tmp_path)
    both = ["export", "--tflite", str(path), "--torch", "a:b", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, both)
    assert done.exit_code != 0
    assert "one network at a time" in " ".join(done.output.split())
