"""Networks that are no graphs of ours: refused in a sentence that says what, where and how."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph

MAP, SERIES, FEATURES = (2, 8, 8), (2, 16), (5,)


class Called(nn.Module):
    """A network whose forward is a function of (the module, x, …)."""

    def __init__(self, forward, **parts) -> None:
        super().__init__()
        self.forward_of = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *x):
        return self.forward_of(self, *x)


def conv(**other: object) -> nn.Conv2d:
    return nn.Conv2d(2, 3, 3, **other)


def head(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(functional.adaptive_avg_pool2d(m.conv(x), 1).flatten(1))


def ended(change, **parts) -> nn.Module:
    """A convolution, ``change``, and the end of a classifier."""
    parts = {"conv": conv(), "fc": nn.Linear(3, 2), **parts}
    return Called(lambda m, x: m.fc(change(m, m.conv(x)).mean((2, 3))), **parts)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


def poisoned() -> nn.Module:
    module = nn.Sequential(nn.Linear(5, 3))
    with torch.no_grad():
        module[0].weight[1, 2] = float("nan")
    return module


def shared() -> nn.Module:
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.ReLU(), layer)


def tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    module[1].weight = module[0].weight
    return module


def counting(m: nn.Module, x: Tensor) -> Tensor:
    m.calls += 1
    return m.fc(x)


def written(m: nn.Module, x: Tensor) -> Tensor:
    x[:, 0] = 0
    return m.fc(x)


def branching(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(x) if x.sum() > 0 else m.fc(-x)


def looping(m: nn.Module, x: Tensor) -> Tensor:
    for _ in range(int(x.sum())):
        x = m.fc(x)
    return x


def two_parts(m: nn.Module, x: Tensor) -> Tensor:
    x[:, 0].mul_(2)
    return x


class Sighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.end = conv(), nn.Sequential(nn.Flatten(), nn.LayerNorm(108))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv(x))
        return self.end(y)  # its line is named


LINEAR = {"fc": nn.Linear(5, 5)}
CASES: dict[str, tuple[nn.Module, tuple[int, ...], str]] = {
    "dynamic_shape": (
        Called(lambda m, x: m.fc(torch.nonzero(x).float()), fc=nn.Linear(2, 2)),
        FEATURES,
        "shapes must be fixed",
    ),
    "boolean_index": (
        Called(lambda m, x: m.fc(x[x[:, 0] > 0]), **LINEAR),
        FEATURES,
        "select.*parts",
    ),
    "lstm": (Called(lambda m, x: m.rnn(x)[0][:, -1], rnn=nn.LSTM(16, 4)), SERIES, "lstm.*Conv1d"),
    "gru": (Called(lambda m, x: m.rnn(x)[1][0], rnn=nn.GRU(16, 4)), SERIES, "gru.*Conv1d"),
    "custom_autograd": (ended(lambda m, x: Doubled.apply(x)), MAP, "mul.*calibration"),
    "weight_sharing": (shared(), FEATURES, "is that of layer '0' already"),
    "tied_weights": (tied(), FEATURES, "is that of layer '0' already"),
    "in_place_view": (ended(two_parts), MAP, "parts of tensors"),
    "writes_into_its_input": (
        Called(written, **LINEAR),
        FEATURES,
        "writes into its input x_0 while it runs",
    ),
    "counts_its_calls": (
        Called(counting, calls=nn.Buffer(torch.zeros(1)), **LINEAR),
        FEATURES,
        "changes its buffer calls while it runs",
    ),
    "branch_on_values": (Called(branching, **LINEAR), FEATURES, "may depend on shapes, not on val"),
    "loop_over_values": (
        Called(looping, **LINEAR),
        FEATURES,
        "may depend on shapes, not on values",
    ),
    "two_outputs": (Called(lambda m, x: (m.fc(x), x), **LINEAR), FEATURES, "gives 2 outputs"),
    "maps_come_out": (conv(), MAP, "gives maps 3×6×6"),
    "nan_weights": (poisoned(), FEATURES, r"'0\.weight' has NaN.*diverged"),
    "empty": (nn.Sequential(), FEATURES, "computes nothing"),
    "constant": (Called(lambda m, x: m.fc.bias, **LINEAR), FEATURES, "gives a constant"),
    "reflected_padding": (
        ended(lambda m, x: x, conv=conv(padding=1, padding_mode="reflect")),
        MAP,
        "can only hold 0",
    ),
    "padded_channels": (
        ended(lambda m, x: functional.pad(x, (0, 0, 0, 0, 1, 1)), fc=nn.Linear(5, 2)),
        MAP,
        "height and width may be padded",
    ),
    "padded_by_less": (ended(lambda m, x: functional.pad(x, (-1, 0))), MAP, "may be padded"),
    "padded_twice": (ended(lambda m, x: functional.pad(x, (1, 1)).relu()), MAP, "only convolut"),
    "dilation": (ended(lambda m, x: x, conv=conv(dilation=2)), MAP, r"dilation is \[2, 2\]"),
    "transposed": (
        ended(lambda m, x: x, conv=nn.ConvTranspose2d(2, 3, 2)),
        MAP,
        "only enlarged by",
    ),
    "enlarged_between": (
        ended(lambda m, x: functional.interpolate(x, scale_factor=1.6)),
        MAP,
        r"\(6, 6\) into \(9, 9\) by other cells .*enlarge by whole factors",
    ),
    "made_smaller_by_cells": (
        ended(lambda m, x: functional.interpolate(x, scale_factor=0.5)),
        MAP,
        "it only makes maps larger, a Pool makes them smaller",
    ),
    "between_cells": (
        ended(lambda m, x: functional.interpolate(x, scale_factor=2, mode="bilinear")),
        MAP,
        r"nearest cells: nn\.Upsample",
    ),
    "convolution_3d": (
        nn.Sequential(nn.Unflatten(1, (1, 2)), nn.Conv3d(1, 1, 1)),
        MAP,
        "use 1-D or 2-D conv",
    ),
    "batch_statistics": (
        ended(lambda m, x: m.bn(x), bn=nn.BatchNorm2d(3, track_running_stats=False)),
        MAP,
        "track_running_stats=True",
    ),
    "layer_norm": (nn.Sequential(nn.Linear(5, 5), nn.LayerNorm(5)), FEATURES, "use BatchNorm"),
    "group_norm": (ended(lambda m, x: m.gn(x), gn=nn.GroupNorm(1, 3)), MAP, "use BatchNorm"),
    "gelu": (ended(lambda m, x: functional.gelu(x)), MAP, "gelu.*int8 kernel; use ReLU"),
    "sigmoid_at_the_end": (nn.Sequential(nn.Linear(5, 1), nn.Sigmoid()), FEATURES, "sigmoid"),
    "clamp": (ended(lambda m, x: x.clamp(-1, 1)), MAP, r"clamps to \(-1\.0, 1\.0\)"),
    "softmax_inside": (ended(lambda m, x: x.softmax(1)), MAP, "only be the last"),
    "gate": (ended(lambda m, x: x * x.mean((2, 3), keepdim=True)), MAP, "mul.*gate"),
    "joined_rows": (ended(lambda m, x: torch.cat([x, x], 2)), MAP, "only channels may be"),
    "stacked": (ended(lambda m, x: torch.stack([x, x], 1).mean(1)), MAP, r"torch\.cat"),
    "broadcast": (ended(lambda m, x: x + x.mean((2, 3), keepdim=True)), MAP, "nothing is repeated"),
    "scaled_sum": (ended(lambda m, x: torch.add(x, x, alpha=2)), MAP, "alpha = 2"),
    "added_constant": (ended(lambda m, x: x + 1), MAP, "constant"),
    "counted_padding": (
        ended(lambda m, x: functional.avg_pool2d(x, 3, 2, 1)),
        MAP,
        "count_include",
    ),
    "norm_pool": (ended(lambda m, x: functional.lp_pool2d(x, 2, 2)), MAP, "pow.*no such operation"),
    "uneven_pool": (ended(lambda m, x: functional.adaptive_avg_pool2d(x, 4)), MAP, "divisors"),
    "dropout_that_stays": (ended(lambda m, x: functional.dropout(x)), MAP, "self.training"),
    "linear_by_place": (
        Called(lambda m, x: m.fc(x).mean(1), fc=nn.Linear(16, 3)),
        SERIES,
        "flatten",
    ),
    "channels_last": (
        Called(lambda m, x: head(m, x.permute(0, 3, 1, 2)), conv=conv(), fc=nn.Linear(3, 2)),
        (8, 8, 2),
        "changes the order",
    ),
    "reshaped_input": (
        Called(lambda m, x: head(m, x.view(-1, 2, 8, 8)), conv=conv(), fc=nn.Linear(3, 2)),
        (128,),
        "give samples of the shape",
    ),
    "mixed_samples": (
        Called(lambda m, x: m.fc(x.reshape(-1, 5, 2).mean(2)), **LINEAR),
        FEATURES,
        "of 2 samples it makes 1 rows",
    ),
    "one_row": (
        Called(lambda m, x: m.fc(x.reshape(1, -1)), fc=nn.Linear(10, 2)),
        FEATURES,
        "mixed",
    ),
    "attention": (
        Called(lambda m, x: functional.scaled_dot_product_attention(x, x, x)),
        SERIES,
        "use nn.Linear",
    ),
    "computed_weight": (Called(lambda m, x: functional.linear(x, x)), FEATURES, "must be a parame"),
    "doubles": (nn.Linear(5, 2).double(), FEATURES, r"module\.float\(\)"),
    "wrong_samples": (nn.Linear(4, 2), FEATURES, r"fails on samples of shape \(5,\)"),
    "two_inputs": (nn.Bilinear(5, 5, 2), FEATURES, "fails on samples"),
    "four_dimensions": (nn.Flatten(), (1, 2, 3, 4), r"must be \(C, H, W\)"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_read_is_refused_in_a_sentence(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    module, shape, words = CASES[name]
    with pytest.raises(FedTinyError) as caught:
        Graph.from_torch(module.eval(), torch.zeros(1, *shape))
    said = str(caught.value)
    assert re.search(words, said), said
    assert "\n" not in said
    assert capfd.readouterr() == ("", "")


def test_a_refusal_names_the_operation_its_module_and_its_line() -> None:
    line = inspect.getsourcelines(Sighted.forward)[1] + 2
    words = rf"^layer_norm of 'end\.1' \(LayerNorm\) at .*test_from_torch_refusals\.py:{line} "
    with pytest.raises(FedTinyError, match=words + r"\(`return self\.end\(y\)"):
        Graph.from_torch(Sighted(), torch.zeros(1, *MAP))


@pytest.mark.parametrize(
    ("module", "example", "words"),
    [
        (nn.Embedding(9, 2), torch.zeros(1, 5, dtype=torch.int64), "takes torch.int64"),
        (nn.Linear(5, 2), torch.zeros(5), "at least one sample"),
        (nn.Linear(5, 2), torch.zeros(0, 5), "at least one sample"),
        (nn.Linear(5, 2), [0.0] * 5, "the example for Linear is list"),
        (lambda x: x, torch.zeros(1, 5), "is no torch.nn.Module"),
    ],
)
def test_examples_are_batches_of_floats(module: nn.Module, example: Tensor, words: str) -> None:
    with pytest.raises(FedTinyError, match=words):
        Graph.from_torch(module, example)
