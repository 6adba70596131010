"""The user's own module, by the name of what makes it: ``my_package.net:make``."""

from __future__ import annotations

import importlib
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from inspect import Parameter, signature
from math import prod
from typing import Any

import torch
from torch import nn

from fedtiny.errors import FedTinyError
from fedtiny.models.from_torch.program import evaluating
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Shape
from fedtiny.sparse.tensor import Floats


class OwnModuleError(FedTinyError):
    """What was named makes no module; the message says what to name."""


@lru_cache(maxsize=4)
def network(
    key: str, spec: str, input_shape: Shape, classes: int, seed: int
) -> tuple[Graph, dict[str, Floats]]:
    """The graph of the module that ``spec`` names, and its weights.

    The module gets samples (N, C, H, W); if it fails on these, (N, C, T) where H is 1, and else
    flattened ones.

    Args:
        key, spec: see :func:`make`.
        input_shape: (C, H, W) of a sample.
        classes: number of outputs.
        seed: of the weights that it makes at random.

    Raises:
        OwnModuleError: see :func:`make`; or it has another number of outputs.
        UnsupportedModuleError: it is no graph of ours.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make(key, spec, input_shape, classes)
    graph, state = Graph.from_torch(module, torch.zeros(1, *_taken(module, input_shape)))
    if graph.classes != classes:
        raise OwnModuleError(
            f"{key} = {spec!r} has {graph.classes} outputs for {classes} classes; let it take "
            "(input_shape, classes)"
        )
    return replace(graph, input_shape=input_shape), state


def _taken(module: nn.Module, shape: Shape) -> tuple[int, ...]:
    """Shape of a sample that the module takes; ``shape`` itself if it takes none we know of."""
    channels, height, width = shape
    forms: list[tuple[int, ...]] = [shape, (channels, width)] if height == 1 else [shape]
    for form in (*forms, (prod(shape),)):
        with evaluating(module), suppress(Exception), torch.no_grad():
            module(torch.zeros(1, *form))
            return form
    return shape


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
