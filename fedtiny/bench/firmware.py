"""Executed instructions of a sparse model on an emulated core: ours against dense kernels.

Three programs compute the same int8 weights on the same inputs, each in one run of QEMU, each
checked byte for byte after every layer:

* ``ours``: the planner's choice, sparse or dense by layer, dense ones by CMSIS-NN;
* ``cmsis_nn``: every layer by CMSIS-NN's ``arm_*_wrapper_s8``;
* ``own_dense``: every layer by the portable dense kernels.

CMSIS-NN is 4.0 from a wheel, or a tree of the user's. Residual additions are not in the files of
the wheel; all three use ours. On cores with DSP instructions a fourth program is that of a peer:
see :mod:`fedtiny.bench.peer`. On a Cortex-M4 the executed blocks have modelled cycles, too
(:mod:`fedtiny.boards.cortex_m4`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fedtiny.bench import synthetic
from fedtiny.bench.peer_count import PeerCount
from fedtiny.boards import cmsis_nn, plan_run, qemu
from fedtiny.boards.cortex_m4 import CortexM4
from fedtiny.boards.emulated import Emulation
from fedtiny.boards.kernels import compile_portable, compile_with_cmsis_nn
from fedtiny.errors import FedTinyError
from fedtiny.firmware.cores import CORES, Core
from fedtiny.firmware.dense_scratch import Release
from fedtiny.firmware.lower import dense, lower
from fedtiny.firmware.plan import ExportPlan, Step
from fedtiny.firmware.vectors import vector_file
from fedtiny.models.graph import Graph
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.ops.linear import IntegerLinear

TIMED_CORE = "m4"
"""The one of :data:`CORES` whose cycles are modelled."""

PEER_FLASH_BYTES = 3 * 1024 * 1024
"""Dense weights that still leave room for code in the emulated boards' 4 MB of flash."""


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """One step of the network.

    Attributes:
        name: of the node.
        kernel: ours.
        format: of our weights; None if it has none or they are dense.
        density: nnz / weights; None if it has no weights.
        map: height x width x channels of its output.
        instructions: executed, by ``ours``, ``cmsis_nn`` and ``own_dense``.
        cycles: modelled, of the same; None for a core without a model.
        flash_bytes: weights and quantization parameters of ``ours`` and ``dense``.
        scratch_bytes: of ours.
    """

    name: str
    kernel: str
    format: str | None
    density: float | None
    map: str
    instructions: Mapping[str, int]
    cycles: Mapping[str, int] | None
    flash_bytes: Mapping[str, int]
    scratch_bytes: int


@dataclass(frozen=True, slots=True)
class Total:
    """The network, or its convolutions alone.

    Attributes:
        instructions: executed for one input, by ``ours``, ``cmsis_nn`` and ``own_dense``.
        ratio: those of ``cmsis_nn`` / ours.
        cycles, cycle_ratio: modelled, of the same; None for a core without a model.
        flash_bytes: weights and quantization parameters of ``ours`` and ``dense``.
        flash_ratio: dense / ours.
        arena_bytes: RAM of ``ours`` and ``dense`` for tensors and scratch.
        code_bytes: machine code of whole self-test programs.
        scratch_bytes: of ours, at most.
        stack_bytes: of ours, start-up included.
        mismatches: test vectors of any of the three with any differing byte.
    """

    instructions: Mapping[str, int]
    ratio: float
    cycles: Mapping[str, int] | None
    cycle_ratio: float | None
    flash_bytes: Mapping[str, int]
    flash_ratio: float
    arena_bytes: Mapping[str, int]
    code_bytes: Mapping[str, int]
    scratch_bytes: int
    stack_bytes: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class FirmwareBenchmark:
    """What was compared, by layer and in sum.

    ``cmsis_nn`` is where its sources are, as given. ``timing`` is the model of cycles, with its
    parameters; None if the core has none. ``peer`` is what the peer's program needs for
    the same float weights, or why there is none.
    """

    model: str
    input: str
    core: str
    density: float
    cmsis_nn: str
    timing: str | None
    convs_only: bool
    layers: tuple[LayerComparison, ...]
    total: Total
    peer: PeerCount | str


def bench_firmware(
    graph: Graph,
    density: float,
    core: str,
    *,
    convs_only: bool = False,
    vectors: int = 1,
    library: str = cmsis_nn.WHEEL,
    timing: CortexM4 | None = None,
) -> FirmwareBenchmark:
    """Compare our export with dense kernels on ``graph`` with random weights.

    Args:
        graph: the architecture.
        density: nnz / weights of every prunable layer, in (0, 1].
        core: one of :data:`CORES`.
        convs_only: report convolutions only.
        vectors: inputs; counts are means over them.
        library: a directory with CMSIS-NN, or :data:`fedtiny.boards.cmsis_nn.WHEEL`.
        timing: models cycles, on the core that it is of; None for instructions alone.

    Raises:
        FedTinyError: no such core, no CMSIS-NN there, or a tool missing.
    """
    if core not in CORES:
        raise FedTinyError(f"no core is called {core!r}; choose from {', '.join(CORES)}")
    if not 0 < density <= 1:
        raise FedTinyError(f"a density of {density} is not in (0, 1]")
    linked = cmsis_nn.find(library)
    model = synthetic.integer_model(graph, density)
    plan = lower(model, core=CORES[core])
    baseline = lower(model, dense, core=CORES[core])
    if library == cmsis_nn.WHEEL:
        # The dense opponent may call its 4.0 as suits that best: rows as rows.
        baseline = replace(baseline, releases=(Release.V4_0,))
    inputs = vector_file(model, synthetic.counts(model, vectors))
    timing = timing if core == TIMED_CORE else None
    runs = _run_all(plan, baseline, core, linked, inputs, timing)
    layers = [
        _compare(i, plan.steps[i], baseline.steps[i], plan, runs)
        for i, node in enumerate(model.nodes)
        if isinstance(node, IntegerConv) or not convs_only
    ]
    return FirmwareBenchmark(
        graph.name,
        "x".join(map(str, graph.input_shape)),
        core,
        density,
        library,
        None if timing is None else str(timing),
        convs_only,
        tuple(layers),
        _total(layers, plan, baseline, runs, convs_only),
        "convolutions only" if convs_only else _peer(graph, density, core, baseline),
    )


def _peer(graph: Graph, density: float, core: str, baseline: ExportPlan) -> PeerCount | str:
    if CORES[core] is not Core.M4:
        return "compiles for cores with DSP instructions only"
    if baseline.flash_bytes > PEER_FLASH_BYTES:
        return f"{baseline.flash_bytes:,} B of dense weights exceed the emulated board's flash"
    try:
        from fedtiny.bench.peer import measure  # noqa: PLC0415 - CMSIS-NN's copy comes with the extra dev
    except ImportError:
        return "needs PyTorch: pip install fedtiny[train]"
    with tempfile.TemporaryDirectory() as place:
        try:
            return measure(graph, synthetic.float_model(graph, density), core, Path(place))
        except FedTinyError as error:
            return str(error)


def _run_all(
    plan: ExportPlan,
    baseline: ExportPlan,
    core: str,
    linked: cmsis_nn.CmsisNN,
    vectors: bytes,
    timing: CortexM4 | None,
) -> dict[str, Emulation]:
    target = qemu.machine(f"qemu-{core}")
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        theirs = compile_with_cmsis_nn(target, directory / "cmsis_nn", linked)
        portable = compile_portable(target, directory / "portable")
        return {
            name: plan_run.run(which, target, kernels, vectors, directory / name, timing)
            for name, which, kernels in (
                ("ours", plan, theirs),
                ("cmsis_nn", baseline, theirs),
                ("own_dense", baseline, portable),
            )
        }


def _compare(
    i: int, ours: Step, theirs: Step, plan: ExportPlan, runs: Mapping[str, Emulation]
) -> LayerComparison:
    node = ours.node
    channels, height, width = plan.model.tensors[node.name].shape
    return LayerComparison(
        name=node.name,
        kernel=ours.kernel.value,
        format=None if ours.streams is None else ours.streams.format.name,
        density=node.weight.density if isinstance(node, IntegerConv | IntegerLinear) else None,
        map=f"{height}x{width}x{channels}",
        instructions={name: run.layers[i].instructions for name, run in runs.items()},
        cycles=_known({name: run.layers[i].cycles for name, run in runs.items()}),
        flash_bytes={"ours": ours.flash_bytes, "dense": theirs.flash_bytes},
        scratch_bytes=ours.scratch_bytes,
    )


def _known(cycles: Mapping[str, int | None]) -> Mapping[str, int] | None:
    known = {name: count for name, count in cycles.items() if count is not None}
    return known or None


def _total(
    layers: list[LayerComparison],
    plan: ExportPlan,
    baseline: ExportPlan,
    runs: Mapping[str, Emulation],
    convs_only: bool,
) -> Total:
    instructions = {name: run.instructions for name, run in runs.items()}
    cycles = _known({name: run.cycles for name, run in runs.items()})
    flash = {"ours": plan.flash_bytes, "dense": baseline.flash_bytes}
    if convs_only:
        instructions = {name: sum(x.instructions[name] for x in layers) for name in runs}
        if cycles is not None:
            cycles = {name: sum((x.cycles or {})[name] for x in layers) for name in cycles}
        flash = {name: sum(x.flash_bytes[name] for x in layers) for name in flash}
    return Total(
        instructions=instructions,
        ratio=instructions["cmsis_nn"] / instructions["ours"],
        cycles=cycles,
        cycle_ratio=None if cycles is None else cycles["cmsis_nn"] / cycles["ours"],
        flash_bytes=flash,
        flash_ratio=flash["dense"] / flash["ours"],
        arena_bytes={"ours": plan.arena.nbytes, "dense": baseline.arena.nbytes},
        code_bytes={name: run.sizes.code_bytes for name, run in runs.items()},
        scratch_bytes=max(layer.scratch_bytes for layer in layers),
        stack_bytes=runs["ours"].stack_bytes,
        mismatches=sum(run.mismatches for run in runs.values()),
    )
