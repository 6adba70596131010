"""Predicted memory of the PyTorch path against the allocator's measured peak."""

from dataclasses import replace
from math import prod

import pytest
from builders import batch_of, sparse_model

from fedtiny.doctor.boards import layer_nnz
from fedtiny.memory.ledger import LedgerLine
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv, Linear, Pool
from fedtiny.training.masked.memory import predict

torch = pytest.importorskip("torch", reason="needs the [train] extra")

from fedtiny.training.masked.meter import measure_peak_bytes, measure_training_step  # noqa: E402
from fedtiny.training.trainer import SgdConfig  # noqa: E402

WATCH = build("smartwatch_cnn", (6, 1, 128), 7)
RESNET8 = build("resnet8", (1, 28, 28), 10)


def activated(graph: Graph, activation: Activation) -> Graph:
    """The graph with another activation wherever it has ReLU."""
    nodes = tuple(
        replace(node, activation=activation) if node.activation is Activation.RELU else node
        for node in graph.nodes
    )
    return replace(graph, name=f"{graph.name}.{activation}", nodes=nodes)


def measured(graph: Graph, batch: int, micro_batch: int, density: float) -> int:
    x, y = batch_of(graph, batch)
    sgd = SgdConfig(0.05, weight_decay=5e-4)
    return measure_training_step(graph, sparse_model(graph, density), sgd, x, y, micro_batch)


@pytest.mark.parametrize(
    ("graph", "batch", "micro_batch", "density"),
    [
        *((WATCH, 64, n, 0.05) for n in (64, 32, 16, 8)),
        *((WATCH, n, n, 0.05) for n in (16, 8)),
        (WATCH, 64, 64, 1.0),
        *((RESNET8, 64, n, 0.05) for n in (64, 32, 8)),
        (RESNET8, 8, 8, 0.05),
        (build("resnet8", (3, 32, 32), 10), 32, 16, 0.05),
        *((build("ds_cnn", (1, 49, 10), 12), 16, n, 0.1) for n in (16, 8)),
        (build("mobilenet_v1", (3, 96, 96), 2), 8, 8, 0.1),
        *(
            (activated(graph, activation), 32, 32, 0.05)
            for graph in (WATCH, RESNET8)
            for activation in (Activation.RELU6, Activation.HARD_SWISH)
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Graph) else str(value),
)
def test_prediction_is_within_ten_percent(graph, batch, micro_batch, density):
    predicted = predict(graph, batch, micro_batch, layer_nnz(graph, density)).peak_bytes
    assert predicted == pytest.approx(measured(graph, batch, micro_batch, density), rel=0.1)


def test_lines_that_need_no_model_of_the_allocator():
    parameters = sum(prod(row.shape) for row in WATCH.parameters)
    statistics = sum(prod(row.shape) for row in WATCH.statistics)
    prunable = sum(prod(layer.weight_shape) for layer in WATCH.prunable_layers)
    nnz = layer_nnz(WATCH, 0.05)
    lines = predict(WATCH, 64, 8, nnz, top_k=100).lines
    assert lines[LedgerLine.WEIGHTS] == 4 * (parameters + statistics)
    assert lines[LedgerLine.OPTIMIZER] == lines[LedgerLine.GRADIENTS] == 4 * parameters
    assert lines[LedgerLine.INDICES] == prunable + 4 * sum(nnz.values())
    assert lines[LedgerLine.BATCH] == 64 * (6 * 128 * 4 + 8)
    assert lines[LedgerLine.TOP_K] == 100 * (4 + 4)


def test_one_linear_layer_by_hand():
    graph = Graph("linear", (10, 1, 1), (Linear("classifier", INPUT, 10, 3, prunable=False),))
    lines = predict(graph, 4, 4).lines
    assert lines[LedgerLine.WEIGHTS] == lines[LedgerLine.OPTIMIZER] == 4 * (30 + 3)
    assert lines[LedgerLine.BATCH] == 4 * (10 * 4 + 8)
    assert lines[LedgerLine.KERNEL_WORKSPACE] == 0
    assert sum(lines.values()) == pytest.approx(measured(graph, 4, 4, 1.0), rel=0.1)


def two_convolutions(stride: int) -> Graph:
    first = Conv("first", INPUT, 8, 8, (1, 1), prunable=False)
    second = Conv("second", "first", 8, 8, (1, 1), stride=(stride, stride))
    return Graph(
        "two",
        (8, 4, 4),
        (first, second, Pool("pool", "second"), Linear("l", "pool", 8, 2, prunable=False)),
    )


MAP = 32 * 8 * 4 * 4 * 4
"""Bytes of one 4x4 map of 8 channels for a batch of 32."""
STATISTICS = 2 * 8 * 4
WEIGHT = 8 * 8 * 4
CLASSIFIER = (8 * 2 + 2) * 4


def test_strided_convolution_by_hand():
    # Peak: the second convolution's input gradient, once as returned and twice as copies, while
    # the first one's output and its normalised output wait for their turn.
    lines = predict(two_convolutions(stride=2), 32, 32).lines
    assert lines[LedgerLine.SAVED_ACTIVATIONS] == 2 * MAP + STATISTICS
    assert lines[LedgerLine.TEMPORARIES] == MAP + MAP // 4
    assert lines[LedgerLine.KERNEL_WORKSPACE] == 2 * MAP
    assert lines[LedgerLine.GRADIENTS] == CLASSIFIER + STATISTICS


def test_convolution_by_hand():
    # Peak: the second convolution's weight gradient, from copies of its input and of the
    # gradient of its output, beside that gradient and the one of its input.
    lines = predict(two_convolutions(stride=1), 32, 32).lines
    assert lines[LedgerLine.SAVED_ACTIVATIONS] == 2 * MAP + STATISTICS
    assert lines[LedgerLine.TEMPORARIES] == 2 * MAP
    assert lines[LedgerLine.KERNEL_WORKSPACE] == 2 * MAP + WEIGHT
    assert lines[LedgerLine.GRADIENTS] == CLASSIFIER + STATISTICS


def test_accumulation_keeps_all_gradients_from_the_start():
    graph = two_convolutions(stride=1)
    parameters = 4 * sum(prod(row.shape) for row in graph.parameters)
    assert predict(graph, 32, 16).lines[LedgerLine.GRADIENTS] == parameters


def test_micro_batch_must_lie_within_the_batch():
    with pytest.raises(ValueError, match=r"micro_batch must be in 1\.\.8, got 9"):
        predict(WATCH, 8, 9)


def test_meter_sees_temporaries_and_frees():
    def block() -> None:
        kept = torch.zeros(1000)
        for _ in range(3):
            torch.zeros(5000)  # freed at once, each time
        kept.add_(1)

    assert measure_peak_bytes(block) == 4 * 6000
    assert measure_peak_bytes(block, resident_bytes=100) == 4 * 6000 + 100
