"""Writes small ``.tflite`` files; runs them with TensorFlow Lite Micro's interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

if TYPE_CHECKING:
    from tflite_micro.python.tflite_micro import runtime

TABLES = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "HARD_SWISH": "HardSwishOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions",
}
"""Of the options that operators need, by kind."""

SAME, VALID = 0, 1


class Writer:
    """A model of one subgraph, or of more to be refused."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1 << 12)
        self.buffers = [self._buffer(None)]
        self.tensors: list[int] = []
        self.operators: list[int] = []
        self.codes: list[int] = []

    def _buffer(self, data: bytes | None) -> int:
        vector = None if data is None else self.builder.CreateByteVector(data)
        tflite.BufferStart(self.builder)
        if vector is not None:
            tflite.BufferAddData(self.builder, vector)
        return int(tflite.BufferEnd(self.builder))

    def _vector(self, offsets: list[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def _numbers(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.int32) -> int:
        return int(self.builder.CreateNumpyVector(np.asarray(values, dtype).reshape(-1)))

    def tensor(
        self,
        shape: tuple[int, ...],
        scales: npt.ArrayLike = (),
        zero_point: int = 0,
        data: np.ndarray | None = None,
        kind: str = "INT8",
        axis: int = 0,
        signature: tuple[int, ...] = (),
    ) -> int:
        """Index of a new tensor; ``data``: a constant."""
        b, buffer = self.builder, 0
        if data is not None:
            self.buffers.append(self._buffer(np.ascontiguousarray(data).tobytes()))
            buffer = len(self.buffers) - 1
        scales = np.atleast_1d(np.asarray(scales, np.float32))
        scale_vector = self._numbers(scales, np.float32)
        zeros = self._numbers(np.full(len(scales), zero_point), np.int64)
        tflite.QuantizationParametersStart(b)
        tflite.QuantizationParametersAddScale(b, scale_vector)
        tflite.QuantizationParametersAddZeroPoint(b, zeros)
        tflite.QuantizationParametersAddQuantizedDimension(b, axis)
        quantization = tflite.QuantizationParametersEnd(b)
        name = b.CreateString(f"t{len(self.tensors)}")
        shape_vector = self._numbers(shape)
        signature_vector = self._numbers(signature)
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, shape_vector)
        tflite.TensorAddType(b, getattr(tflite.TensorType, kind))
        tflite.TensorAddBuffer(b, buffer)
        tflite.TensorAddName(b, name)
        tflite.TensorAddQuantization(b, quantization)
        if signature:
            tflite.TensorAddShapeSignature(b, signature_vector)
        self.tensors.append(tflite.TensorEnd(b))
        return len(self.tensors) - 1

    def operator(
        self, kind: str, inputs: list[int], output: int, version: int = 1, **options: float
    ) -> int:
        """Append an operator; options by the schema's names. Returns ``output``."""
        b, table = self.builder, TABLES.get(kind)
        union = 0
        if table is not None:
            getattr(tflite, f"{table}Start")(b)
            for name, value in options.items():
                getattr(tflite, f"{table}Add{name}")(b, value)
            union = getattr(tflite, f"{table}End")(b)
        input_vector, output_vector = self._numbers(inputs), self._numbers([output])
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, len(self.codes))
        tflite.OperatorAddInputs(b, input_vector)
        tflite.OperatorAddOutputs(b, output_vector)
        if table is not None:
            tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, table))
            tflite.OperatorAddBuiltinOptions(b, union)
        self.operators.append(tflite.OperatorEnd(b))
        code = getattr(tflite.BuiltinOperator, kind)
        tflite.OperatorCodeStart(b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(code, 127))
        tflite.OperatorCodeAddBuiltinCode(b, code)
        tflite.OperatorCodeAddVersion(b, version)
        self.codes.append(tflite.OperatorCodeEnd(b))
        return output

    def model(self, inputs: list[int], outputs: list[int], subgraphs: int = 1) -> bytes:
        """The file."""
        b = self.builder
        operators, tensors = self._vector(self.operators), self._vector(self.tensors)
        graph_inputs, graph_outputs = self._numbers(inputs), self._numbers(outputs)
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, tensors)
        tflite.SubGraphAddInputs(b, graph_inputs)
        tflite.SubGraphAddOutputs(b, graph_outputs)
        tflite.SubGraphAddOperators(b, operators)
        graphs = self._vector([tflite.SubGraphEnd(b)] * subgraphs)
        codes, buffers = self._vector(self.codes), self._vector(self.buffers)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, 3)
        tflite.ModelAddOperatorCodes(b, codes)
        tflite.ModelAddSubgraphs(b, graphs)
        tflite.ModelAddBuffers(b, buffers)
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        return bytes(b.Output())


def interpreter(raw: bytes, *, keep: bool = False) -> runtime.Interpreter:
    """TensorFlow Lite Micro's; ``keep``: every tensor can be read afterwards."""
    from tflite_micro.python.tflite_micro import runtime

    config = runtime.InterpreterConfig
    return runtime.Interpreter.from_bytes(
        raw,
        arena_size=8 << 20,
        intrepreter_config=config.kPreserveAllTensors if keep else config.kAllocationRecording,
    )


def interpret(raw: bytes, *feeds: np.ndarray) -> np.ndarray:
    """Its first output for each sample of the feeds, (N, …) each."""
    runner, results = interpreter(raw), []
    for sample in zip(*feeds, strict=True):
        for index, array in enumerate(sample):
            runner.set_input(array[None], index)
        runner.invoke()
        results.append(runner.get_output(0)[0].copy())
    return np.stack(results)
