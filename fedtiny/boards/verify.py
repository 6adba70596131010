"""One exported project, verified on several targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedtiny.boards import cmsis_nn, emulated, host, qemu
from fedtiny.errors import FedTinyError
from fedtiny.toolchain import require

HOST = "host"

Results = Mapping[str, host.CheckResult | emulated.Emulation]
"""By target."""


def verify_targets(
    firmware: Path,
    targets: Sequence[str],
    vectors: int,
    sanitize: bool = False,
    library: str | None = None,
) -> Results:
    """Build and run the self-test on each target.

    Args:
        firmware: as written by :func:`fedtiny.export.bundle.export`.
        targets: ``"host"`` or names of :data:`fedtiny.boards.qemu.MACHINES`.
        vectors: at most so many test vectors on each emulated board; the host runs them all.
        sanitize: the host's build under ASan and UBSan.
        library: a directory with CMSIS-NN, or :data:`fedtiny.boards.cmsis_nn.WHEEL`, for the dense
            layers on emulated boards; None for the project's own portable kernels.

    Raises:
        ToolchainError: a tool is missing, before anything is built; or a build fails.
        FedTinyError: no exported project, no such target, or no CMSIS-NN there.
    """
    for target in targets:
        if target != HOST and target not in qemu.MACHINES:
            known = ", ".join((HOST, *qemu.MACHINES))
            raise FedTinyError(f"unknown target {target!r}; choose from {known}")
    if library is not None and HOST in targets:
        raise FedTinyError(
            "CMSIS-NN is linked for Cortex-M only: with --cmsis-nn choose among --target "
            f"{','.join(qemu.MACHINES)}"
        )
    linked = None if library is None else cmsis_nn.find(library)
    _check_project(firmware)
    if any(target != HOST for target in targets):
        require("arm-none-eabi-gcc")
        require("qemu-system-arm")
    return {target: _verify(firmware, target, vectors, sanitize, linked) for target in targets}


def _check_project(folder: Path) -> None:
    if (folder / "model.h").is_file():
        return
    within = folder / "firmware"
    fix = (
        f"did you mean {within}?" if (within / "model.h").is_file() else "write one: fedtiny export"
    )
    raise FedTinyError(f"{folder} holds no exported model; {fix}")


def failed(results: Results) -> bool:
    """Whether any target had a mismatch or ran nothing."""
    return any(result.mismatches > 0 or result.vectors == 0 for result in results.values())


def _verify(
    firmware: Path,
    target: str,
    vectors: int,
    sanitize: bool,
    library: cmsis_nn.CmsisNN | None,
) -> host.CheckResult | emulated.Emulation:
    if target == HOST:
        return host.check(firmware, "sanitize" if sanitize else "check")
    return emulated.verify(firmware, target, vectors, library)
