"""A kernel that refuses its layer during a self-test: which layer, and what its status means."""

from __future__ import annotations

import re

from fedtiny.errors import FedTinyError

_FAILED = re.compile(r"^step failed: (?P<step>.*), status (?P<status>-\d+)$", re.MULTILINE)

_MEANINGS = {
    -1: "an argument outside the kernel's range, scratch that is missing, or corrupt weights",
    -2: "the linked library has no implementation for this layer",
    -3: "the linked library refuses this layer",
    -4: (
        "the linked CMSIS-NN asks for more scratch than the project reserves; it is newer than "
        "this FedTiny knows: link 4.0 to 7.x, or build without FEDTINY_USE_CMSIS_NN"
    ),
}


class StepFailedError(FedTinyError):
    """A step of the network answered with a status other than 0; the message names the step."""


def check_steps(target: str, printed: str) -> None:
    """Raise unless every step ran.

    Args:
        target: that ran the self-test, for the message.
        printed: by the self-test.

    Raises:
        StepFailedError: a step failed.

    >>> check_steps("qemu-m55", "step failed: conv1, status -3")
    Traceback (most recent call last):
    fedtiny.boards.step_failure.StepFailedError: qemu-m55: step 'conv1' failed with status -3: \
the linked library refuses this layer
    """
    found = _FAILED.search(printed)
    if found is not None:
        status = int(found["status"])
        meaning = _MEANINGS.get(status, "unknown to FedTiny")
        raise StepFailedError(
            f"{target}: step {found['step']!r} failed with status {status}: {meaning}"
        )
