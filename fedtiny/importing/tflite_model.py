"""An int8 ``.tflite`` as an integer model, byte for byte what TensorFlow Lite Micro computes.

Its multipliers, shifts and both of its roundings are kept (:mod:`fedtiny.quant.requantize`),
padding on one side stays on one side, and pruned weights, zeros all, are not stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from fedtiny.data.errors import bad_file
from fedtiny.importing import tflite_functions as functions
from fedtiny.importing import tflite_layers as layers
from fedtiny.importing import tflite_others as others
from fedtiny.importing.tflite_assembly import Assembly, TfliteError, Value
from fedtiny.importing.tflite_file import read_file
from fedtiny.models.ops import INPUT
from fedtiny.quant.integer_model import INPUT_SHIFT, InputQuantization, IntegerGraph
from fedtiny.quant.tensors import QuantizationError

OPERATORS: Mapping[str, Callable[[Assembly], None]] = {
    "ADD": others.add,
    "AVERAGE_POOL_2D": others.pool,
    "CONCATENATION": others.concatenate,
    "CONV_2D": layers.convolve,
    "DEPTHWISE_CONV_2D": layers.convolve_depthwise,
    "DEQUANTIZE": others.nothing,
    "EXPAND_DIMS": others.reshape,
    "FULLY_CONNECTED": layers.connect,
    "HARD_SWISH": functions.hard_swish,
    "LOGISTIC": functions.squash,
    "MAX_POOL_2D": others.pool,
    "MEAN": others.mean,
    "PACK": others.shape_arithmetic,
    "PAD": others.pad,
    "QUANTIZE": others.quantize,
    "RELU": functions.rectify,
    "RELU6": functions.rectify,
    "RESIZE_NEAREST_NEIGHBOR": others.enlarge,
    "RESHAPE": others.reshape,
    "SHAPE": others.shape_arithmetic,
    "SOFTMAX": others.softmax,
    "SQUEEZE": others.reshape,
    "STRIDED_SLICE": others.shape_arithmetic,
    "TANH": functions.squash,
}
"""What takes each operator; all others are refused."""

REFUSED: Mapping[str, str] = {
    "MUL": "fold factors into the weights of the layer before",
    "SUB": "add a layer with negated weights",
    "TRANSPOSE_CONV": "use RESIZE_NEAREST_NEIGHBOR and a convolution",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "recurrent networks are not taken: use 1-D convolutions",
    "WHILE": "unroll loops when converting",
}
"""What to do about operators that people ask for."""


def read_model(path: Path) -> tuple[IntegerGraph, tuple[str, ...]]:
    """The integer model of a file, from codes of its input to codes of its output; and remarks.

    Sensor counts are the input's codes themselves.

    Raises:
        FedTinyError: the file, named with the operator or tensor that is not taken and the remedy.
    """
    graph, assembly = assemble(path)
    return graph, tuple(assembly.remarks)


def assemble(path: Path) -> tuple[IntegerGraph, Assembly]:
    """The integer model of a file, and which of its tensors is which of the file's.

    Raises:
        FedTinyError: as :func:`read_model`.
    """
    assembly = Assembly(read_file(path))
    try:
        return _graph(assembly), assembly
    except TfliteError as refusal:
        raise bad_file(path, str(refusal)) from refusal
    except QuantizationError as error:
        raise bad_file(path, str(assembly.refuse(str(error), "convert again"))) from error


def _graph(assembly: Assembly) -> IntegerGraph:
    model = assembly.model
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TfliteError(
            f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs; only one of each "
            "is taken: convert a function of one"
        )
    if not model.operators:
        raise TfliteError("it has no operators; convert a model that computes something")
    _enter(assembly)
    for position, operator in enumerate(model.operators):
        assembly.position = position
        if operator.kind not in OPERATORS:
            remedy = REFUSED.get(operator.kind, f"taken are {', '.join(OPERATORS)}")
            raise assembly.refuse("it is not taken", remedy)
        assembly.output()
        OPERATORS[operator.kind](assembly)
    channels = assembly.tensors[INPUT].shape[0]
    entry = InputQuantization(
        np.full(channels, 1 << INPUT_SHIFT, np.int32), np.zeros(channels, np.int64)
    )
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", model.name).lstrip(".-") or "model"
    return IntegerGraph(name, entry, assembly.tensors, tuple(assembly.nodes), _logits(assembly))


def _logits(assembly: Assembly) -> str:
    """Name of the tensor that is the model's output."""
    logits = assembly.values.get(assembly.model.outputs[0])
    if logits is None or logits.name == INPUT:
        raise assembly.refuse("nothing computes the model's output", "convert again")
    shape = assembly.tensors[logits.name].shape
    if shape[1:] != (1, 1):
        raise assembly.refuse(
            f"the model's output is a map of {shape} (C, H, W)",
            "end it with a mean, a pooling or a fully-connected layer",
        )
    return logits.name


def _enter(assembly: Assembly) -> None:
    """The model's input: int8, or what the only QUANTIZE makes of floats or bytes."""
    index = assembly.model.inputs[0]
    tensor = assembly.tensor(index)
    readers = [op for op in assembly.model.operators if index in op.inputs]
    if tensor.kind in ("FLOAT32", "UINT8") and [op.kind for op in readers] == ["QUANTIZE"]:
        assembly.position = assembly.model.operators.index(readers[0])
        made = assembly.output()
        assembly.remarks.append(
            f"the model's input is {tensor.kind.lower()}; the firmware takes the int8 codes that "
            "QUANTIZE makes of it"
        )
        tensor = made
    shape = assembly.sample_shape(tensor)
    if 0 in shape:
        raise assembly.refuse(f"an input of {shape}", "convert again")
    assembly.tensors[INPUT] = assembly.quantized(tensor, shape)
    assembly.values[index] = Value(INPUT, shape)
