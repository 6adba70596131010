"""The peer of our exporter: BakeNN 1.0.0, a PyTorch-to-C int8 compiler that calls CMSIS-NN.

It compiles the same pruned float weights with its own quantization; its program is checked
against its own integer reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedtiny.bench.peer_count import PeerCount
from fedtiny.boards import qemu
from fedtiny.boards.layer_bench import PROGRAM
from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Concat, Conv, Linear, Node, Upsample
from fedtiny.models.parameters import Parameter
from fedtiny.models.sparse_model import SparseModel
from fedtiny.seeding import rng

INSTALL = "pip install --no-deps bakenn==1.0.0"
NAME = "peer"
CALIBRATION_SAMPLES = 1
"""Ranges change no count, and the peer takes half a minute of loops for each."""


def _rectifies(node: Node) -> bool:
    if node.activation is Activation.NONE:
        return False
    if node.activation is not Activation.RELU:
        raise FedTinyError(f"node {node.name!r}: the peer has no {node.activation}")
    return True


def _even_padding(node: Conv) -> tuple[int, int]:
    if len(node.padding) == 4:
        raise FedTinyError(f"node {node.name!r}: the peer pads both sides alike")
    return node.padding


class _PlainModule(nn.Module):
    """The graph out of the layers that exporters recognise."""

    def __init__(self, graph: Graph, state: Mapping[str, Any]) -> None:
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleDict()
        for node in graph.nodes:
            if isinstance(node, Conv):
                self.layers[_key(node)] = nn.Conv2d(
                    node.in_channels,
                    node.out_channels,
                    node.kernel,
                    node.stride,
                    _even_padding(node),
                    groups=node.groups,
                    bias=not node.batch_norm,
                )
                if node.batch_norm:
                    self.layers[f"{_key(node)}_bn"] = nn.BatchNorm2d(node.out_channels)
            elif isinstance(node, Linear):
                self.layers[_key(node)] = nn.Linear(node.in_features, node.out_features)
        tensors = {
            _parameter(row): torch.from_numpy(np.array(state[row.name]))
            for row in graph.parameter_table
        }
        self.load_state_dict(tensors, strict=False)

    def forward(self, x: Tensor) -> Tensor:
        values = {INPUT: x}
        for node in self.graph.nodes:
            y = self._run(node, [values[name] for name in node.inputs])
            values[node.name] = functional.relu(y) if _rectifies(node) else y
        return values[self.graph.logits]

    def _run(self, node: Node, inputs: list[Tensor]) -> Tensor:
        if isinstance(node, Conv):
            y: Tensor = self.layers[_key(node)](inputs[0])
            return self.layers[f"{_key(node)}_bn"](y) if node.batch_norm else y
        if isinstance(node, Linear):
            flat: Tensor = self.layers[_key(node)](torch.flatten(inputs[0], 1))
            return flat
        if isinstance(node, Add):
            return inputs[0] + inputs[1]
        if isinstance(node, Concat | Upsample) or any(node.padding):
            raise FedTinyError(
                f"node {node.name!r}: the peer joins no channels, pads no pools, enlarges no maps"
            )
        kernel, stride = node.window(self.graph.shapes[node.input])
        pool = functional.avg_pool2d if node.kind == "avg" else functional.max_pool2d
        return pool(inputs[0], kernel, stride)


def measure(graph: Graph, model: SparseModel, core: str, directory: Path) -> PeerCount:
    """Compile ``model`` with the peer and run one input on an emulated core.

    Args:
        graph: the architecture.
        model: its weights; pruned ones are zeros to the peer.
        core: as in :func:`fedtiny.boards.qemu.machine`, without ``qemu-``.
        directory: where files go.

    Raises:
        FedTinyError: the peer is not installed or cannot compile this network.
    """
    try:
        import bakenn  # noqa: PLC0415 - comes with the extra dev
    except ImportError:
        raise FedTinyError(f"the peer is not installed; install it with: {INSTALL}") from None
    random = rng(0, "peer samples")
    shape = (1, *graph.input_shape)
    samples = [
        torch.from_numpy(random.normal(0, 1, shape).astype(np.float32))
        for _ in range(CALIBRATION_SAMPLES)
    ]
    options = bakenn.CBackendOptions(
        enable_cmsis_nn=True,
        kernel_policy=bakenn.KernelPolicy.STATIC_PRIORITY,
        target=bakenn.CORTEX_M4,
    )
    module = _PlainModule(graph, model.to_dense()).eval()
    library = directory / "library"
    try:
        compiled = bakenn.compile_torch_ptq(
            module, samples[0], samples, library, name=NAME, backend_options=options
        )
    except bakenn.BakeNNError as error:
        raise FedTinyError(f"the peer cannot compile {graph.name}: {error}") from error
    codes = bakenn.quantize_input(compiled.plan, samples[0].numpy().transpose(0, 2, 3, 1))
    expected = bakenn.run_reference(compiled.plan, codes)
    memory = compiled.memory_report
    return _run(core, directory, library, codes, expected, memory)


def _run(
    core: str,
    directory: Path,
    library: Path,
    codes: npt.ArrayLike,
    expected: npt.ArrayLike,
    memory: Any,  # noqa: ANN401 - bakenn's report has no types
) -> PeerCount:
    target = qemu.machine(f"qemu-{core}")
    third = library / "third_party"
    (directory / "peer.h").write_text(_header(codes, expected), encoding="utf-8")
    sources = [PROGRAM.parent / "peer_bench.c", *sorted(library.rglob("*.c"))]
    include = (directory, library, third / "cmsis_nn" / "Include", third / "cmsis_core" / "Include")
    flags = ("-std=gnu11", "-DBAKENN_CMSIS_NN_BUILTIN_MEMORY")
    program = qemu.build(target, sources, directory, include=include, flags=flags)
    ticks, mismatches, stack = map(int, qemu.run(target, program, directory).split())
    return PeerCount(
        round(ticks * target.tick_ns),
        mismatches,
        memory.emitted_constant_payload_bytes,
        memory.arena_bytes,
        stack,
    )


def _header(codes: npt.ArrayLike, expected: npt.ArrayLike) -> str:
    def array(name: str, values: npt.ArrayLike) -> str:
        literals = ", ".join(map(str, np.asarray(values, np.int8).reshape(-1).tolist()))
        return f"static const int8_t {name}[] = {{{literals}}};\n"

    return (
        f'#include "bknn_{NAME}.h"\n'
        f"#define PEER_INFER bknn_{NAME}_infer\n"
        f"#define PEER_ARENA_BYTES BKNN_{NAME.upper()}_ARENA_SIZE\n"
        f"#define PEER_OUTPUT_BYTES BKNN_{NAME.upper()}_OUTPUT_BYTES\n"
        + array("peer_input", codes)
        + array("peer_output", expected)
    )


def _key(node: Node) -> str:
    return node.name.replace(".", "_")


def _parameter(row: Parameter) -> str:
    """The module's name of a row of the parameter table."""
    norm, dot, attribute = row.kind.rpartition(".")
    return f"layers.{row.layer.replace('.', '_')}{'_' * len(dot)}{norm}.{attribute}"
