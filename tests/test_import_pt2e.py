"""A program that torchao quantized: its scales and codes stay what they are, to the last step."""

from __future__ import annotations

import logging
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import lively
from typer.testing import CliRunner

from fedtiny.boards import host
from fedtiny.cli import app
from fedtiny.errors import FedTinyError
from fedtiny.export.project import write_project
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.planner import ANY_CORTEX_M4, fit
from fedtiny.firmware.vectors import vector_file
from fedtiny.importing.pt2e_program import read_program_file
from fedtiny.importing.pt2e_source import integer_graph, read_pt2e
from fedtiny.quant import reference

torchao = find_spec("torchao")
needs_torchao = pytest.mark.skipif(torchao is None, reason="torchao is not installed")


class Small(nn.Module):
    """Every operation that a program may have, their activations, a value that is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(2, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.point = nn.Conv2d(16, 8, 1)
        self.hidden, self.head = nn.Linear(8 * 9, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = functional.relu6(self.depthwise(x))
        x = functional.max_pool2d(functional.hardswish(x + self.point(torch.cat([y, x], 1))), 2)
        x = functional.relu(self.hidden(torch.flatten(x, 1)))
        return torch.softmax(self.head(x), dim=-1)


def converted(module: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    """What a user of torchao has: prepared, calibrated, converted, exported, saved."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.testing.pt2e import _xnnpack_quantizer as xnnpack

        x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0))
        quantizer = xnnpack.XNNPACKQuantizer().set_global(
            xnnpack.get_symmetric_quantization_config(is_per_channel=True)
        )
        prepared = prepare_pt2e(torch.export.export(module, (x,)).module(), quantizer)
        prepared(x)
        torch.export.save(torch.export.export(convert_pt2e(prepared), (x,)), path)
    logging.disable(logging.NOTSET)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return converted(lively(Small()), (2, 12, 12), tmp_path_factory.mktemp("pt2e") / "small.pt2")


def calls(path: Path, operation: str) -> list[torch.fx.Node]:
    loaded = torch.export.load(path)
    return [call for call in loaded.graph.nodes if operation in str(call.target)]


@needs_torchao
@pytest.mark.filterwarnings("ignore")
def test_scales_and_codes_are_those_of_the_program(program: Path) -> None:
    read = read_program_file(program)
    asked = {(call.args[1], call.args[2]) for call in calls(program, "quantize_per_tensor")}
    found = {(tensor.scale, tensor.zero_point) for tensor in read.tensors.values()}
    assert found == {(float(np.float32(scale)), zero) for scale, zero in asked}
    graph = integer_graph(read)
    held = torch.export.load(program).state_dict
    codes = [value.numpy() for name, value in held.items() if "frozen" in name]
    assert len(codes) == len(graph.layers)
    for layer in graph.layers:
        mine = np.sort(np.abs(layer.weight.values))
        assert any(np.array_equal(mine, np.sort(np.abs(c[c != 0].ravel()))) for c in codes)


@needs_torchao
@pytest.mark.filterwarnings("ignore")
def test_integers_give_what_the_program_gives(program: Path) -> None:
    graph = integer_graph(read_program_file(program))
    x = torch.randn(16, 2, 12, 12, generator=torch.Generator().manual_seed(1))
    wanted = torch.log(torch.export.load(program).module()(x)).numpy()
    codes = graph.input.encode(x.numpy())
    found = graph.output.decode(reference.run(graph, codes.astype(np.int16)))
    centred = [a - a.mean(axis=1, keepdims=True) for a in (found, wanted)]
    steps = np.abs(centred[0] - centred[1]) / graph.output.scale
    assert steps.max() < 2
    assert np.mean(steps < 0.5) > 0.8


@needs_torchao
@pytest.mark.filterwarnings("ignore")
def test_a_program_becomes_checked_firmware(program: Path, tmp_path: Path) -> None:
    folder, asked = tmp_path / "firmware", ["export", "--pt2e", str(program)]
    told = CliRunner().invoke(app, [*asked, "--report"])
    assert told.exit_code == 0, told.output
    assert "small: 10 int8 tensors with the scales of the program" in told.output
    taken = read_pt2e(program)
    plan = fit(taken.integer, ANY_CORTEX_M4)
    vectors = vector_file(taken.integer, taken.counts)
    write_project(folder, plan.require(), vectors, SensorInterface.numbered(taken.integer, "code"))
    checked = host.check(folder)
    assert (checked.vectors, checked.mismatches) == (16, 0)
    x = np.zeros((3, 2, 12, 12), np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1, 4], scale=0.001)
    pruned = read_pt2e(program, tmp_path / "d.npz", 0.25)
    assert pruned.accuracies.keys() == {"as it came"}
    assert np.array_equal(pruned.counts, x)


@needs_torchao
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_quantized_is_named(tmp_path: Path) -> None:
    module = nn.Sequential(nn.ReLU(), nn.Linear(4, 2)).eval()
    path = converted(module, (4,), tmp_path / "early.pt2")
    with pytest.raises(FedTinyError, match="the input is not quantized"):
        integer_graph(read_program_file(path))


def test_files_that_are_no_quantized_program_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FedTinyError, match="no such file"):
        read_pt2e(tmp_path / "nothing.pt2")
    (tmp_path / "odd.pt2").write_bytes(b"PK\3\4 and so on")
    with pytest.raises(FedTinyError, match=r"cannot load it as an exported program"):
        read_pt2e(tmp_path / "odd.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(nn.Linear(4, 2), (torch.zeros(2, 4),))
        torch.export.save(exported, tmp_path / "float.pt2")
    with pytest.raises(FedTinyError, match="nothing in it is quantized; convert it"):
        read_pt2e(tmp_path / "float.pt2")
