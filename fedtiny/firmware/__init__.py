"""The integer model as a C project: kernels, memory plan, text, bundle; and back: :func:`load`."""

from fedtiny.firmware.loaded import FirmwareError, LoadedModel, load

__all__ = ["FirmwareError", "LoadedModel", "load"]
