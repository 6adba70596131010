"""The plan of an exported model: which C function computes each node, from which flash and RAM."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fedtiny.firmware.arena import Arena
from fedtiny.firmware.dense_scratch import Release
from fedtiny.firmware.side_net import SideNet
from fedtiny.firmware.streams import WeightStreams
from fedtiny.quant.integer_model import IntegerGraph, IntegerLayer, IntegerNode

INT32_BYTES = 4


class Kernel(StrEnum):
    """The C functions a step can call."""

    DENSE_CONV = "arm_convolve_wrapper_s8"
    DENSE_DEPTHWISE = "arm_depthwise_conv_wrapper_s8"
    SPARSE_CONV = "fedtiny_sparse_conv_s8"
    SPARSE_CONV_PLANAR = "fedtiny_sparse_conv_planar_s8"
    SPARSE_DEPTHWISE = "fedtiny_sparse_depthwise_conv_s8"
    SPARSE_LINEAR = "fedtiny_sparse_fully_connected_s8"
    ADD = "fedtiny_elementwise_add_s8"
    AVERAGE_POOL = "arm_avgpool_s8"
    MAX_POOL = "arm_max_pool_s8"
    MEAN = "fedtiny_mean_s8"
    CONCAT = "fedtiny_concat_s8"
    LOOKUP = "fedtiny_lookup_s8"
    UPSAMPLE = "fedtiny_upsample_nearest_s8"


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One node and how it is computed.

    Attributes:
        node: of the integer model.
        kernel: the C function.
        streams: the weights as a sparse kernel reads them; None for dense kernels.
        flash_bytes: weights, biases and multipliers.
        scratch_bytes: lent to the kernel.
        bands: of output rows the kernel works in, one after the other.
        instructions: predicted for the core the plan is made for (:mod:`fedtiny.firmware.cost`).
    """

    node: IntegerNode
    kernel: Kernel
    streams: WeightStreams | None = None
    flash_bytes: int = 0
    scratch_bytes: int = 0
    bands: int = 1
    instructions: int = 0

    @property
    def has_weights(self) -> bool:
        """Whether the node is a layer."""
        return isinstance(self.node, IntegerLayer)

    @property
    def calls_cmsis_nn(self) -> bool:
        """Whether the kernel is CMSIS-NN's: then it is asked how much scratch it wants."""
        return self.kernel.startswith("arm_")

    @property
    def takes_shifts(self) -> bool:
        """Whether the kernel wants the array of shifts that are 0; sparse kernels do not."""
        return (
            isinstance(self.node, IntegerLayer) and self.streams is None and self.node.shift is None
        )


@dataclass(frozen=True, slots=True, eq=False)
class ExportPlan:
    """Everything the emitter needs: the model, its steps in execution order, and the arena.

    Attributes:
        model, steps, arena: of the export.
        releases: of CMSIS-NN that may be linked.
        side: what is learned on the device, if anything; its buffers are in the arena.
    """

    model: IntegerGraph
    steps: tuple[Step, ...]
    arena: Arena
    releases: tuple[Release, ...] = tuple(Release)
    side: SideNet | None = None

    @property
    def shared_shifts(self) -> int:
        """Length of the one array of zeros that all dense kernels take as their shifts."""
        channels = (self.model.tensors[s.node.name].shape[0] for s in self.steps if s.takes_shifts)
        return max(channels, default=0)

    @property
    def flash_bytes(self) -> int:
        """Weights and quantization parameters, those of the input included."""
        entry = self.model.input_quantization
        shared = entry.multiplier.nbytes + entry.offset.nbytes + INT32_BYTES * self.shared_shifts
        return shared + sum(step.flash_bytes for step in self.steps)

    @property
    def instructions(self) -> int:
        """Predicted for one input, quantizing it aside."""
        return sum(step.instructions for step in self.steps)
