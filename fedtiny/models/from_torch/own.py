"""The user's own module, by the name of what makes it: ``my_package.net:make``."""

from __future__ import annotations

import importlib
from inspect import Parameter, signature
from typing import Any

import torch
from torch import nn

from fedtiny.errors import FedTinyError
from fedtiny.models.ops import Shape


class OwnModuleError(FedTinyError):
    """What was named makes no module; the message says what to name."""


def make(key: str, spec: str, input_shape: Shape | None, classes: int | None) -> nn.Module:
    """The module that ``spec`` names.

    Args:
        key: what named it, for messages.
        spec: ``module:name``; the name of a function, a class or a module that is made already. A
            function is called without arguments, or with ``(input_shape, classes)`` if it has two
            parameters without a default.
        input_shape: (C, H, W) of a sample; None if nobody knows it.
        classes: number of outputs; None if nobody knows it.

    Raises:
        OwnModuleError: there is no such thing, it fails, or it gives no ``nn.Module``.
    """
    where, _, name = spec.partition(":")
    if not where or not name:
        raise OwnModuleError(f"{key} = {spec!r}: write module:name, e.g. my_package.net:make")
    try:
        maker: Any = importlib.import_module(where)
        for part in name.split("."):
            maker = getattr(maker, part)
        module = maker if isinstance(maker, nn.Module) else _call(maker, input_shape, classes)
    except OwnModuleError as error:
        raise OwnModuleError(f"{key} = {spec!r}: {error}") from error
    except Exception as error:  # whatever the user's own code does
        known = "" if isinstance(error, ImportError | AttributeError) else type(error).__name__
        raise OwnModuleError(f"{key} = {spec!r}: {known}{': ' * bool(known)}{error}") from error
    if not isinstance(module, nn.Module):
        raise OwnModuleError(
            f"{key} = {spec!r} gives {type(module).__name__}, no torch.nn.Module; return one"
        )
    return module


def _call(maker: Any, input_shape: Shape | None, classes: int | None) -> object:  # noqa: ANN401 - the user's
    if not callable(maker):
        raise OwnModuleError(f"it is {type(maker).__name__}; name a function or a class")
    needed = [one for one in signature(maker).parameters.values() if _is_needed(one)]
    if not needed:
        return maker()
    if len(needed) != 2 or input_shape is None or classes is None:
        names = ", ".join(one.name for one in needed)
        raise OwnModuleError(
            f"it needs ({names}); it is called without arguments"
            + ("" if input_shape is None else ", or with (input_shape, classes)")
            + ": give the others defaults"
        )
    return maker(input_shape, classes)


def _is_needed(one: Parameter) -> bool:
    variable = one.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return one.default is Parameter.empty and not variable


def example_of(shape: tuple[int, ...]) -> torch.Tensor:
    """One sample of a shape, to trace a module with."""
    return torch.zeros(1, *shape)
