"""What a pickle says, without running it: a machine of the few instructions that CIFAR's need.

Python's own unpickler looks up functions, keeps a table as long as a file asks for, and hashes
whatever nests in whatever. Here a value is made only of bytes that are in the file, so that memory
grows no faster than the file, and functions are named, not looked up.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any


class PickleError(ValueError):
    """An instruction that no batch needs, or one that the file cuts off."""


@dataclass(slots=True)
class Name:
    """A function or class that the pickle asks for."""

    module: str
    name: str


@dataclass(slots=True)
class Call:
    """A function's result, as it would be.

    Attributes:
        function: that is called …
        arguments: … with these.
        state: what the result is set to afterwards.
    """

    function: object
    arguments: object
    state: object = None


_MARK = object()
"""On the stack, where a group begins."""


def load(raw: bytes, allowed: Collection[tuple[str, str]]) -> Any:  # noqa: ANN401 - any value
    """None, bool, int, float, str, bytes, tuple, list, dict, :class:`Call` or :class:`Name`.

    Args:
        raw: of protocols 2 to 4, as Python 2 and 3 write them; Python 2's strings become bytes.
        allowed: (module, name) of what the pickle may ask for.

    Raises:
        PickleError: any other instruction or name, or a file that ends early or is damaged.
    """
    machine = _Machine(raw, allowed)
    try:
        while (code := machine.take(1)) != b".":
            if code not in _CODES:
                at = machine.at - 1
                raise PickleError(f"instruction {code!r} at byte {at}, which no batch needs")
            _CODES[code](machine)
        return machine.pop()
    except (struct.error, IndexError, KeyError, TypeError, UnicodeError) as error:
        raise PickleError(f"damaged near byte {machine.at}") from error


@dataclass(slots=True)
class _Machine:
    raw: bytes
    allowed: Collection[tuple[str, str]]
    at: int = 0
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if not 0 <= count <= len(self.raw) - self.at:
            raise PickleError("it ends early")
        self.at += count
        return self.raw[self.at - count : self.at]

    def sized(self, form: str) -> bytes:
        """Bytes after a number that says how many."""
        return self.take(self.number(form))

    def number(self, form: str) -> int:
        """The next number, in one of :mod:`struct`'s forms."""
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(value)

    def line(self) -> str:
        """Up to the next line feed."""
        end = self.raw.find(b"\n", self.at)
        text = self.take(end - self.at)
        self.at += 1
        return text.decode()

    def push(self, value: object) -> None:
        """A new last value."""
        self.stack.append(value)

    def pop(self) -> Any:  # noqa: ANN401 - any value
        """The last value."""
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("a group ends early")
        return value

    def group(self) -> list[Any]:
        """What lies above the last mark, which goes, too."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def last(self, count: int) -> list[Any]:
        """That many last values."""
        return [self.pop() for _ in range(count)][::-1]

    def named(self, module: object, name: object) -> Name:
        """What the pickle asks for, if it may."""
        if (module, name) not in self.allowed:
            raise PickleError(f"it asks for {module!s:.80}.{name!s:.80}, which no batch needs")
        return Name(str(module), str(name))


def _append(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not list:
        raise PickleError("it appends to something that is no list")
    target.extend(values)


def _set_items(machine: _Machine, values: list[Any]) -> None:
    """Keys are text: to hash tuples nested in tuples takes time without end."""
    target, keys = machine.stack[-1], values[::2]
    if type(target) is not dict or len(values) % 2:
        raise PickleError("it sets items of something that is no dictionary")
    if not all(type(key) in (str, bytes, int) for key in keys):
        raise PickleError("a dictionary's key is no text")
    target.update(zip(keys, values[1::2], strict=True))


def _reduce(machine: _Machine) -> None:
    function, arguments = machine.last(2)
    match function, arguments:
        case Name("_codecs", "encode"), (str(text), "latin1"):
            machine.push(text.encode("latin1"))  # how Python 3 writes bytes for Python 2
        case _:
            machine.push(Call(function, arguments))


def _build(machine: _Machine) -> None:
    target, state = machine.last(2)
    if type(target) is not Call:
        raise PickleError("it sets the state of something that is no object")
    target.state = state
    machine.push(target)


def _stack_global(machine: _Machine) -> None:
    module, name = machine.last(2)
    if type(module) is not str or type(name) is not str:
        raise PickleError("a name is no text")
    machine.push(machine.named(module, name))


def _put(machine: _Machine, position: int) -> None:
    machine.memo[position] = machine.stack[-1]


_CODES: dict[bytes, Callable[[_Machine], object]] = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: lambda m: m.push(m.number("<i")),
    pickle.BININT1: lambda m: m.push(m.number("<B")),
    pickle.BININT2: lambda m: m.push(m.number("<H")),
    pickle.LONG1: lambda m: m.push(int.from_bytes(m.sized("<B"), "little", signed=True)),
    pickle.BINFLOAT: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    pickle.BINSTRING: lambda m: m.push(m.sized("<i")),
    pickle.SHORT_BINSTRING: lambda m: m.push(m.sized("<B")),
    pickle.BINBYTES: lambda m: m.push(m.sized("<I")),
    pickle.SHORT_BINBYTES: lambda m: m.push(m.sized("<B")),
    pickle.BINBYTES8: lambda m: m.push(m.sized("<Q")),
    pickle.BINUNICODE: lambda m: m.push(m.sized("<I").decode()),
    pickle.SHORT_BINUNICODE: lambda m: m.push(m.sized("<B").decode()),
    pickle.BINPUT: lambda m: _put(m, m.number("<B")),
    pickle.LONG_BINPUT: lambda m: _put(m, m.number("<I")),
    pickle.MEMOIZE: lambda m: _put(m, len(m.memo)),
    pickle.BINGET: lambda m: m.push(m.memo[m.number("<B")]),
    pickle.LONG_BINGET: lambda m: m.push(m.memo[m.number("<I")]),
    pickle.MARK: lambda m: m.push(_MARK),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE: lambda m: m.push(tuple(m.group())),
    pickle.TUPLE1: lambda m: m.push(tuple(m.last(1))),
    pickle.TUPLE2: lambda m: m.push(tuple(m.last(2))),
    pickle.TUPLE3: lambda m: m.push(tuple(m.last(3))),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.APPEND: lambda m: _append(m, m.last(1)),
    pickle.APPENDS: lambda m: _append(m, m.group()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.SETITEM: lambda m: _set_items(m, m.last(2)),
    pickle.SETITEMS: lambda m: _set_items(m, m.group()),
    pickle.GLOBAL: lambda m: m.push(m.named(m.line(), m.line())),
    pickle.STACK_GLOBAL: _stack_global,
    pickle.REDUCE: _reduce,
    pickle.BUILD: _build,
}
"""By the names that Python gives them; each takes no more memory than its bytes."""
