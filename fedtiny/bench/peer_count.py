"""What a peer's program costs: known without the peer, which few have installed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerCount:
    """What the peer's program needs.

    Attributes:
        instructions: executed for one input.
        mismatches: bytes that differ from the peer's own integer reference.
        flash_bytes: weights and quantization parameters.
        arena_bytes: RAM for tensors and scratch.
        stack_bytes: highest use of the stack.
    """

    instructions: int
    mismatches: int
    flash_bytes: int
    arena_bytes: int
    stack_bytes: int
