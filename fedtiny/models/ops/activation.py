"""What is applied to a node's sums before the next node reads them."""

from enum import StrEnum


class Activation(StrEnum):
    """An element-wise function at the end of a node; the values are those of files."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"
    HARD_SWISH = "hard_swish"

    @property
    def clamps(self) -> bool:
        """Whether it only limits values to an interval, so that no range before it is needed."""
        return self is not Activation.HARD_SWISH
