"""The methods' names, apart from the methods: a command line needs no engine to be parsed."""

from enum import StrEnum


class MethodName(StrEnum):
    """What is trained."""

    FULL = "full"
    HEAD = "head"
    BIAS_HEAD = "bias_head"
    NORM_HEAD = "norm_head"
    LITE = "lite"
    LORA = "lora"
    SPARSE_UPDATE = "sparse_update"
    FISHER = "fisher"
    REPNET = "repnet"
    REPNET_ONE_WAY = "repnet_one_way"
