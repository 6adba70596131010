"""Which file or function a network comes from, and its reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedtiny.errors import FedTinyError
from fedtiny.importing.imported import ImportedModel


@dataclass(frozen=True, slots=True)
class Source:
    """What ``fedtiny export`` was told in place of a run.

    Attributes:
        torch: ``module:name`` of a function that makes an ``nn.Module``.
        tflite: an int8 ``.tflite`` file.
        calibration: samples, see :mod:`fedtiny.importing.calibration`.
        prune: share of the prunable weights to keep, in (0, 1]; None: all.
    """

    OPTIONS: ClassVar[str] = "--torch MODULE:NAME or --tflite FILE"
    """How one names a network, for messages."""

    torch: str = ""
    tflite: Path | None = None
    calibration: Path | None = None
    prune: float | None = None

    @property
    def named(self) -> bool:
        """Whether there is any."""
        return bool(self.torch) or self.tflite is not None

    def refuse_beside(self, run: Path) -> None:
        """Raise FedTinyError if anything was named beside a run."""
        if self.named or self.calibration is not None or self.prune is not None:
            raise FedTinyError(
                f"the run {run} has a model, ranges and a density of its own: leave out the run, "
                "or --torch, --tflite, --calibration and --prune"
            )

    def read(self) -> ImportedModel:
        """The network.

        Raises:
            FedTinyError: there is none or more than one, an option is missing, or its reader
                refuses it.
        """
        if self.torch and self.tflite is not None:
            raise FedTinyError(f"two networks at once: leave out --torch or --tflite {self.tflite}")
        if self.tflite is not None:
            from fedtiny.importing.tflite_source import read_tflite  # noqa: PLC0415 - an extra

            return read_tflite(self.tflite, self.calibration, self.prune)
        from fedtiny.importing.torch_module import read_torch  # noqa: PLC0415 - PyTorch is optional

        return read_torch(self.torch, self.needed_calibration(), self.prune)

    def needed_calibration(self) -> Path:
        """The samples.

        Raises:
            FedTinyError: none were named.
        """
        if self.calibration is None:
            raise FedTinyError(
                "ranges are measured on samples: add --calibration data.npz with x as the network "
                "takes it and, for accuracies, y"
            )
        return self.calibration
