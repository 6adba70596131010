"""A module as PyTorch exports it: a straight list of calls without side effects."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from fedtiny.models.from_torch.refusal import UnsupportedModuleError, place_of_error

_ROWS = 2
"""Samples in the batch that is traced: with one alone, a network that mixes samples looks sound."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What a module does to one batch.

    Attributes:
        name: of the module's class.
        calls: in order; placeholders first, the output last.
        constants: parameters, buffers and constants by placeholder: (their own name, value).
        input: placeholder of the batch.
        rows: samples in the batch.
    """

    name: str
    calls: tuple[fx.Node, ...]
    constants: Mapping[fx.Node, tuple[str, Tensor]]
    input: fx.Node
    rows: int


def export(module: nn.Module, example: Tensor) -> Program:
    """What ``torch.export`` makes of ``module`` in evaluation mode; the module stays as it was.

    Args:
        module: of one tensor.
        example: float32 ``(N, …)``, N ≥ 1 samples.

    Raises:
        UnsupportedModuleError: the example is no such tensor, or PyTorch cannot export it.
    """
    _check_example(module, example)
    rows = torch.cat([example[:1]] * _ROWS)
    with evaluating(module), torch.no_grad():
        _try(module, rows)
        return _traced(module, rows)


def _traced(module: nn.Module, rows: Tensor) -> Program:
    with quiet():
        try:
            exported = torch.export.export(module, (rows,))
            if any(writes(call) and not is_harmless(call) for call in exported.graph.nodes):
                exported = exported.run_decompositions({})  # the same without side effects
        except Exception as error:  # whatever a network does that cannot be traced
            raise UnsupportedModuleError(
                f"PyTorch cannot export {type(module).__name__}{place_of_error(error)}: "
                f"{type(error).__name__}: {_first_line(error)}. What a network does may depend on "
                "shapes, not on values: no branches, loops or sizes from data; try "
                "torch.export.export(module.eval(), (example,))"
            ) from error
        return program_of(exported, type(module).__name__)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, and as it was again."""
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for one, mode in modes:
            one.training = mode


@contextmanager
def quiet() -> Iterator[None]:
    """PyTorch warns of its own ways, and logs and prints what is said in a sentence here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _try(module: nn.Module, rows: Tensor) -> None:
    """Raise UnsupportedModuleError if the module fails by itself, before anybody traces it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module(rows)
    except Exception as error:  # whatever the user's module raises
        raise UnsupportedModuleError(
            f"{type(module).__name__} fails on samples of shape {tuple(rows.shape[1:])}"
            f"{place_of_error(error)}: {type(error).__name__}: {_first_line(error)}; give samples "
            "as it takes them, alone"
        ) from error


def program_of(exported: ExportedProgram, name: str) -> Program:
    """The calls of an exported program that takes one tensor.

    Raises:
        UnsupportedModuleError: it takes another number of tensors, or none of floats, or it
            changes its buffers or its input.
    """
    signature = exported.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    held: Mapping[str, object] = {**exported.constants, **exported.state_dict}
    constants = {}
    inputs = []
    for call in exported.graph.nodes:
        if call.op != "placeholder":
            continue
        value = held.get(names.get(call.name, ""))
        if isinstance(value, Tensor):
            constants[call] = (names[call.name], value.detach())
        else:
            inputs.append(call)
    for changed, what in (
        (signature.buffers_to_mutate, "changes its buffer"),
        (signature.user_inputs_to_mutate, "writes into its input"),
    ):
        if changed:
            raise UnsupportedModuleError(
                f"{name} {what} {', '.join(changed.values())} while it runs; a network may only "
                "compute its output from its input: remove that"
            )
    if len(inputs) != 1 or not isinstance(inputs[0].meta.get("val"), Tensor):
        raise UnsupportedModuleError(
            f"{name} takes {len(inputs)} inputs; a network takes one tensor, samples (N, …): put "
            "them into channels of one"
        )
    rows = inputs[0].meta["val"].shape[0] if inputs[0].meta["val"].dim() else 0
    if not isinstance(rows, int):
        rows = _ROWS
    return Program(name, tuple(exported.graph.nodes), constants, inputs[0], rows)


def _check_example(module: nn.Module, example: object) -> None:
    what = type(module).__name__
    if not isinstance(module, nn.Module):
        raise UnsupportedModuleError(f"{what} is no torch.nn.Module; give one, with its weights")
    if not isinstance(example, Tensor):
        raise UnsupportedModuleError(
            f"the example for {what} is {type(example).__name__}; a network takes one tensor, "
            "samples (N, …) of float32"
        )
    others = {str(p.dtype) for p in module.parameters() if p.dtype != torch.float32}
    if others:
        raise UnsupportedModuleError(
            f"{what} has parameters of {', '.join(sorted(others))}; convert it: module.float()"
        )
    if example.dtype != torch.float32:
        raise UnsupportedModuleError(
            f"{what} takes {example.dtype}; a network takes float32: give features as numbers"
        )
    if example.dim() < 2 or 0 in example.shape:
        raise UnsupportedModuleError(
            f"the example for {what} has shape {tuple(example.shape)}; give at least one sample "
            "(N, C, H, W), (N, C, T) or (N, F)"
        )


def writes(call: fx.Node) -> bool:
    """Whether a call changes what it is given, as ``relu_`` does."""
    schema = getattr(call.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def is_harmless(call: fx.Node) -> bool:
    """Whether nobody else reads what a call writes into: ``relu_`` then is ``relu``."""
    given = call.args[0]
    while isinstance(given, fx.Node) and given.op == "call_function" and len(given.users) == 1:
        returned = given.target._schema.returns if hasattr(given.target, "_schema") else []  # noqa: SLF001 - PyTorch's way to ask
        if not any(one.alias_info for one in returned):
            return True
        given = given.args[0]  # a view of that
    return False


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")
