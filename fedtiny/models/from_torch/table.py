"""The ATen operations that FedTiny has, by name: what reads a call of each."""

from __future__ import annotations

from fedtiny.models.from_torch import layers, others
from fedtiny.models.from_torch.drawing import Reader

READERS: dict[str, Reader] = {
    "conv1d": layers.convolution,
    "conv2d": layers.convolution,
    "convolution": layers.convolution,
    "linear": layers.linear,
    "batch_norm": layers.batch_norm,
    "_native_batch_norm_legit_no_training": layers.batch_norm,
    "relu": others.relu,
    "relu6": others.relu6,
    "hardtanh": others.clamp,
    "clamp": others.clamp,
    "clamp_min": others.clamp,
    "hardswish": others.hard_swish,
    "add": others.add,
    "avg_pool1d": others.pool,
    "avg_pool2d": others.pool,
    "max_pool1d": others.pool,
    "max_pool2d": others.pool,
    "max_pool2d_with_indices": others.pool,
    "adaptive_avg_pool1d": others.adaptive_pool,
    "adaptive_avg_pool2d": others.adaptive_pool,
    "_adaptive_avg_pool2d": others.adaptive_pool,
    "adaptive_max_pool1d": others.adaptive_pool,
    "adaptive_max_pool2d": others.adaptive_pool,
    "mean": others.mean,
    "amax": others.mean,
    "view": others.view,
    "_unsafe_view": others.view,
    "reshape": others.view,
    "flatten": others.view,
    "squeeze": others.view,
    "unsqueeze": others.view,
    "permute": others.permute,
    "transpose": others.permute,
    "alias": others.nothing,
    "clone": others.nothing,
    "contiguous": others.nothing,
    "detach": others.nothing,
    "lift_fresh_copy": others.nothing,
    "dropout": others.dropout,
    "softmax": others.softmax,
    "_softmax": others.softmax,
    "log_softmax": others.softmax,
    "_log_softmax": others.softmax,
    "getitem": others.item,
}
"""``read(call, arguments by name, drawing)``."""
