"""Which op and activation every pass takes, found out by asking it: ``docs/ops.md``.

``python -m fedtiny.doctor.ops docs/ops.md`` writes the page anew. Needs the extras ``train`` and
``firmware``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from fedtiny.bench import synthetic
from fedtiny.command_line import CommandLine
from fedtiny.engine.options import EngineOptions
from fedtiny.engine.plan import plan as engine_plan
from fedtiny.errors import FedTinyError
from fedtiny.firmware.cores import CORES, Core
from fedtiny.firmware.emit import sources
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.lower import SCRATCH_LIMIT_BYTES, lower
from fedtiny.firmware.ways import ways
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Concat, Conv, Linear, Node, Pool, Upsample
from fedtiny.models.torch_module import GraphModule
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph

CHANNELS, HEIGHT, WIDTH, CLASSES = 4, 8, 10, 3
DENSITY = 0.25
ASKED = "layer"
"""Name of the node in question; holes are told apart by the message about it."""

Probe = Callable[[Graph], object]
"""Has a pass do its part of a graph; it raises FedTinyError where it refuses."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: an op as its passes tell it apart, with an activation."""

    op: str
    activation: Activation
    node: Node

    @property
    def graph(self) -> Graph:
        """The node between a layer and a classifier."""
        shape = (CHANNELS, HEIGHT, WIDTH)
        stem = Conv("stem", INPUT, CHANNELS, CHANNELS, (1, 1), prunable=False)
        between = Graph("asked", shape, (stem, self.node)).shapes[ASKED]
        features = between[0] * between[1] * between[2]
        classifier = Linear("classifier", ASKED, features, CLASSES, prunable=False)
        return Graph("asked", shape, (stem, self.node, classifier))


def rows() -> Iterator[Row]:
    """Every op with every activation it can have."""
    conv = partial(Conv, ASKED, "stem", CHANNELS, CHANNELS, (3, 3), padding=(1, 1))
    features = CHANNELS * HEIGHT * WIDTH
    makers: dict[str, Callable[..., Node]] = {
        "convolution": conv,
        "convolution 1x1": partial(Conv, ASKED, "stem", CHANNELS, CHANNELS, (1, 1)),
        "depthwise convolution": partial(conv, groups=CHANNELS),
        "linear": partial(Linear, ASKED, "stem", features, 16),
        "addition": partial(Add, ASKED, "stem", INPUT),
    }
    for op, make in makers.items():
        for activation in Activation:
            yield Row(op, activation, make(activation=activation))
    one_sided = (0, 1, 0, 1)
    others: dict[str, Node] = {
        "convolution padded on one side": conv(padding=one_sided, activation=Activation.NONE),
        "grouped convolution": conv(groups=2, activation=Activation.NONE),
        "joined channels": Concat(ASKED, ("stem", INPUT), 2 * CHANNELS),
        "average pooling": Pool(ASKED, "stem", "avg", (2, 2)),
        "average pooling over the border": Pool(ASKED, "stem", "avg", (2, 2), None, one_sided),
        "average over the map": Pool(ASKED, "stem"),
        "maximum pooling": Pool(ASKED, "stem", "max", (2, 2)),
        "upsampling": Upsample(ASKED, "stem", (2 * HEIGHT, 2 * WIDTH)),
        "maximum pooling over the border": Pool(ASKED, "stem", "max", (2, 2), None, one_sided),
    }
    for op, node in others.items():
        yield Row(op, node.activation, node)


def _torch(graph: Graph) -> object:
    return GraphModule(graph)(torch.zeros(2, *graph.input_shape)).sum().backward()


def _engine(graph: Graph) -> object:
    model = synthetic.float_model(graph, DENSITY)
    masks = {name: weight.mask for name, weight in model.weights.items()}
    return engine_plan(graph, masks, EngineOptions(micro_batch=2))


@cache
def _integer(graph: Graph) -> IntegerGraph:
    return synthetic.integer_model(graph, DENSITY)


def _reference(graph: Graph) -> object:
    model = _integer(graph)
    return reference.run(model, synthetic.counts(model, 1))


@cache  # some cores stand for several
def _code(core: Core, graph: Graph) -> object:
    model = _integer(graph)
    plan = lower(model, core=core)
    return sources(plan, SensorInterface.numbered(model, "counts"))


PASSES: dict[str, Probe] = {
    "PyTorch": _torch,
    "engine": _engine,
    "int8 reference": _reference,
    "C on a host": partial(_code, Core.M4),
    **{name.upper(): partial(_code, core) for name, core in CORES.items()},
}
"""By heading."""


def refusal(probe: Probe, graph: Graph) -> str:
    """Why a pass does not take the graph; empty if it does."""
    try:
        probe(graph)
    except FedTinyError as error:
        return str(error).replace(f"node '{ASKED}': ", "")
    return ""


def page() -> str:
    """``docs/ops.md``."""
    reasons: list[str] = []
    lines = [_line("op", "activation", *PASSES), _line(*["---"] * (2 + len(PASSES)))]
    for row in rows():
        cells = [_mark(refusal(probe, row.graph), reasons) for probe in PASSES.values()]
        lines.append(_line(row.op, row.activation.value, *cells))
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    kernels = [_line("op", *map(str.upper, CORES)), _line(*["---"] * (1 + len(CORES)))]
    kernels += [_line(row.op, *_kernels(row)) for row in rows() if row.activation == "none"]
    return _PAGE.format(
        table="\n".join(lines),
        notes="\n".join(notes) or "None: every pass takes every row.",
        kernels="\n".join(kernels),
    )


def _mark(reason: str, reasons: list[str]) -> str:
    if not reason:
        return "yes"
    if reason not in reasons:
        reasons.append(reason)
    return f"no ({reasons.index(reason) + 1})"


def _kernels(row: Row) -> Iterator[str]:
    """The C functions among which the planner chooses, by core."""
    if refusal(_reference, row.graph):
        yield from ("none" for _ in CORES)
        return
    model = _integer(row.graph)
    node = next(node for node in model.nodes if node.name == ASKED)
    for core in CORES.values():
        steps = ways(node, model, core, SCRATCH_LIMIT_BYTES)
        yield ", ".join(dict.fromkeys(_short(step.kernel.value) for step in steps))


def _short(function: str) -> str:
    for affix in ("arm_", "fedtiny_", "_wrapper", "_s8"):
        function = function.replace(affix, "")
    return function.replace("_", " ")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


_PAGE = """# What each op can do where

Written by `make ops`, which asks every pass about every op: do not edit. "Yes" means that the pass
takes the op; the tests hold the passes to each other: the engine's gradients to PyTorch's, the C of
every core byte for byte to the int8 reference.

{table}

## Why not

{notes}

## Kernels by core

The C functions among which the exporter chooses, by predicted instructions; dense ones are
CMSIS-NN's where it is linked. Activations cost nothing where they are a clamp; hard-swish is
`fedtiny_lookup_s8` after the op on every core, in place.

{kernels}
"""


cli = CommandLine()


@cli.command()
def ops(out: Annotated[Path, typer.Argument(help="File to write, docs/ops.md.")]) -> None:
    """Ask every pass about every op and write the page anew."""
    out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    cli()
