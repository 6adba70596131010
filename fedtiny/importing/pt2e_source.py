"""``fedtiny export --pt2e``: a program that torchao quantized, with the scales that it chose."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedtiny.data.statistics import Normalization
from fedtiny.importing.given_scales import Integers
from fedtiny.importing.imported import ImportedModel
from fedtiny.importing.integer_source import imported
from fedtiny.importing.pt2e_program import QuantizedProgram, read_program_file
from fedtiny.models.ops import INPUT
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ptq import input_quantization


def read_pt2e(
    path: Path, calibration: Path | None = None, prune: float | None = None
) -> ImportedModel:
    """The program in a ``.pt2`` file, in our integers; nothing is calibrated again.

    Args:
        path: a converted program, see :func:`fedtiny.importing.pt2e_program.read_program_file`.
        calibration, prune: see :func:`fedtiny.importing.integer_source.imported`.

    Raises:
        FedTinyError: the file is damaged, no such program or no network of ours, or see there.
    """
    graph = integer_graph(read_program_file(path))
    remark = f"{graph.name}: {len(graph.tensors)} int8 tensors with the scales of the program"
    return imported(graph, (remark,), calibration, prune)


def integer_graph(program: QuantizedProgram) -> IntegerGraph:
    """``program`` in integers; sensor counts are codes of its input.

    Raises:
        FedTinyError: something that is computed is not quantized.
    """
    graph, integers = program.graph, Integers(program)
    tensor = integers.tensors[INPUT]
    channels = np.ones(graph.input_shape[0])
    mean, std = tensor.zero_point * channels, channels / tensor.scale
    codes = Normalization(mean.astype(np.float32), std.astype(np.float32))
    return IntegerGraph(
        graph.name,
        input_quantization(tensor, codes),
        integers.tensors,
        tuple(integers.nodes),
        graph.logits,
    )
