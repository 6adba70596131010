"""What a user's network may not contain: said with the operation, its line, and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb

import torch
from torch import fx

from fedtiny.errors import FedTinyError

ALLOWED = (
    "convolution (1-D, 2-D), batch norm, linear, ReLU, ReLU6, hard-swish, addition, joined "
    "channels, average and maximum pooling, nearest upsampling, mean over height and width, "
    "flatten, dropout, softmax at the end"
)
"""What may stand in a network, for messages."""

_TORCH = str(Path(torch.__file__).parent)
_FRAME = re.compile(r'File "(.+)", line (\d+), in .*\n\s*(.*)')


class UnsupportedModuleError(FedTinyError):
    """A network that is no graph of ours; the message names operation, line and remedy."""


def refusal(call: fx.Node, why: str) -> UnsupportedModuleError:
    """The error for one call of a network.

    Args:
        call: of the exported program.
        why: it is refused, and what to do.
    """
    path, kind = module_of(call)
    part = f" of {path!r} ({kind.rpartition('.')[2]})" if path else ""
    return UnsupportedModuleError(f"{operation(call)}{part}{place(call)}: {why}")


def operation(call: fx.Node) -> str:
    """Name of what is called, as its user knows it.

    >>> operation(fx.Graph().call_function(torch.ops.aten.sigmoid.default, ()))
    'sigmoid'
    """
    if call.op == "placeholder":
        return f"input {call.name!r}"
    parts = str(call.target).split(".")
    return parts[1] if parts[0] == "aten" and len(parts) > 1 else str(call.target)


def module_of(call: fx.Node) -> tuple[str, str]:
    """(path, class) of the module that makes the call; the root's path is empty.

    >>> module_of(fx.Graph().placeholder("x"))
    ('', '')
    """
    stack = list((call.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__name__}"
    return path.removeprefix("L['self']").lstrip("."), name


def place(call: fx.Node) -> str:
    """`` at FILE:LINE (`code`)``, the innermost line outside PyTorch; empty if nothing says."""
    frames = _FRAME.findall(str(call.meta.get("stack_trace") or ""))
    return _innermost((file, int(line), code) for file, line, code in frames)


def place_of_error(error: BaseException) -> str:
    """The same for an error that tracing raised."""
    return _innermost(
        (frame.f_code.co_filename, line, "") for frame, line in walk_tb(error.__traceback__)
    )


def _innermost(frames: Iterator[tuple[str, int, str]]) -> str:
    ours = str(Path(__file__).parents[2])
    own = [frame for frame in frames if not frame[0].startswith((_TORCH, ours, "<"))]
    if not own:
        return ""
    file, line, code = own[-1]
    return f" at {_short(file)}:{line}" + (f" (`{code.strip():.80}`)" if code.strip() else "")


def _short(file: str) -> str:
    """From here, if it lies here."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


REASONS = {
    "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell": (
        "recurrent layers keep a state, which no kernel of ours does; use Conv1d over time"
    ),
    "embedding embedding_bag": "it takes integers as names; give features as numbers",
    "sigmoid tanh gelu silu elu leaky_relu prelu softplus mish hardsigmoid selu celu rrelu": (
        "this activation has no int8 kernel; use ReLU, ReLU6 or Hardswish and train on"
    ),
    "mul div sub rsub": (
        "tensors may only be added; a scale or offset of the input belongs into the calibration "
        "file or the data, a gate (squeeze and excitation) must go"
    ),
    "layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm": (
        "it normalises by the sample, which needs square roots on the device; use BatchNorm"
    ),
    "matmul mm bmm addmm einsum scaled_dot_product_attention baddbmm": (
        "products of tensors have no kernel; use nn.Linear, or convolutions in place of attention"
    ),
    "conv_transpose1d conv_transpose2d upsample_linear1d upsample_bilinear2d pixel_shuffle": (
        "maps are only enlarged by their nearest cells: nn.Upsample(scale_factor=2)"
    ),
    "slice select index index_put index_select narrow split unbind chunk copy gather roll flip": (
        "parts of tensors cannot be read or written; use convolutions of a stride, or pooling"
    ),
    "reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d": (
        "padding cells can only hold 0; use padding_mode='zeros'"
    ),
    "stack": "it makes a dimension; join channels with torch.cat(…, 1), or add",
    "nonzero masked_select unique unique_consecutive": (
        "how much comes out depends on values; shapes must be fixed"
    ),
    "cond while_loop map scan": ("which operations run may not depend on values; leave one branch"),
    "rand randn rand_like randn_like bernoulli normal": (
        "firmware draws nothing at random; use nn.Dropout, which is left out"
    ),
}
"""By the names of ATen operations: why not, and what instead."""


def reason(name: str) -> str:
    """Why the operation ``name`` is refused.

    >>> reason("cond")
    'which operations run may not depend on values; leave one branch'
    >>> reason("relu_of_my_own").startswith("FedTiny has no such operation; a network may have")
    True
    """
    for names, why in REASONS.items():
        if name.rstrip("_") in names.split():
            return why
    return f"FedTiny has no such operation; a network may have {ALLOWED}"
