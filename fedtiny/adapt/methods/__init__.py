"""Ways to adapt, one file each."""

from __future__ import annotations

from collections.abc import Mapping

from fedtiny.adapt.methods import (
    bias_head,
    fisher,
    full,
    head,
    lite,
    lora,
    norm_head,
    repnet,
    repnet_one_way,
    sparse_update,
)
from fedtiny.adapt.recipe import Method
from fedtiny.config.adapt import MethodName

METHODS: Mapping[MethodName, Method] = {
    MethodName.FULL: full.prepare,
    MethodName.HEAD: head.prepare,
    MethodName.BIAS_HEAD: bias_head.prepare,
    MethodName.NORM_HEAD: norm_head.prepare,
    MethodName.LITE: lite.prepare,
    MethodName.LORA: lora.prepare,
    MethodName.SPARSE_UPDATE: sparse_update.prepare,
    MethodName.FISHER: fisher.prepare,
    MethodName.REPNET: repnet.prepare,
    MethodName.REPNET_ONE_WAY: repnet_one_way.prepare,
}
"""Each one's recipe."""
