"""What lives in a Ray actor: the client app, and on another machine the files that it reads."""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

from fedtiny.engine.library import available, load
from sims.grids.identity import assume_identity
from sims.grids.local import RunConfig, call

_CONTENTS = 4  # of the latest kept, decoded: a round has one, or one for each kind of device


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message on its way to an actor.

    Attributes:
        message: without its content.
        content: which of the batch's contents.
        state: what the node kept, see :func:`sims.grids.local.call`.
    """

    message: Message
    content: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an envelope.

    Attributes:
        reply: of the client app.
        state: what the node keeps now; None: what it kept before.
    """

    reply: Message
    state: bytes | None


@dataclass(frozen=True, slots=True)
class Luggage:
    """What an actor needs of a run and may not find where it lives.

    Attributes:
        run: name of the folder that all actors of this run on one machine share.
        config: the run's TOML file.
    """

    run: str
    config: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """What an actor says of itself when it has started.

    Attributes:
        node: Ray's id of the machine.
        host: its name.
        kind: what bytes depend on besides code and config, in words.
    """

    node: str
    host: str
    kind: str


@dataclass
class Worker:
    """Runs the client app on one message after another.

    Attributes:
        app_path: ``module:attribute``.
        partitions, run_config: of the grid.
        luggage: on a cluster.
    """

    app_path: str
    partitions: int
    run_config: RunConfig
    luggage: Luggage | None = None
    _contents: dict[str, RecordDict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assume_identity()
        module, _, attribute = self.app_path.partition(":")
        self._app: ClientApp = getattr(importlib.import_module(module), attribute)
        if self.luggage is not None:
            self._folder = Path(tempfile.gettempdir()) / self.luggage.run
            self._folder.mkdir(exist_ok=True)
            atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
            _put(self._folder / "config.toml", self.luggage.config)
            here = {"config": str(self._folder / "config.toml"), "data": str(self._folder)}
            self.run_config = {**self.run_config, **here}

    def hello(self) -> Hello:
        """Where this actor lives, once it has started."""
        return Hello(ray.get_runtime_context().get_node_id(), platform.node(), kind_of_machine())

    def run(
        self, envelopes: bytes, contents: Sequence[Any], files: Sequence[tuple[str, bytes]]
    ) -> tuple[bytes, float]:
        """Answer several messages.

        Args:
            envelopes: a pickled list of :class:`Envelope`.
            contents: references to what their messages hold.
            files: samples that this machine does not have yet, by name.

        Returns:
            A pickled list of :class:`Answer`, and the seconds it took.
        """
        started = time.perf_counter()
        for name, content in files:
            _put(self._folder / name, content)
        held = [self._content(one) for one in contents]
        answers = [self._answer(one, held) for one in pickle.loads(envelopes)]
        packed = pickle.dumps(answers, pickle.HIGHEST_PROTOCOL)
        return packed, time.perf_counter() - started

    def leave(self) -> None:
        """The run is over: nothing of it stays on this machine."""
        if self.luggage is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self, envelope: Envelope, held: Sequence[RecordDict]) -> Answer:
        message = envelope.message
        message.content = RecordDict({**held[envelope.content]})
        reply, state = call(self._app, message, envelope.state, self.partitions, self.run_config)
        return Answer(reply, None if state is envelope.state else state)

    def _content(self, reference: Any) -> RecordDict:  # noqa: ANN401 - Ray's handles have no types
        key = reference.hex()
        if key not in self._contents:
            while len(self._contents) >= _CONTENTS:
                del self._contents[next(iter(self._contents))]
            self._contents[key] = ray.get(reference)
        return self._contents[key]


def kind_of_machine() -> str:
    """What bytes depend on besides code and config."""
    sets = load().instruction_sets if available() else ()
    kernels = f"the sparse engine for {sets[0]}" if sets else "no sparse engine"
    return f"Python {'.'.join(platform.python_version_tuple()[:2])}, {kernels}"


def _put(path: Path, content: bytes) -> None:
    """Write a file that other actors may write at the same time."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)
