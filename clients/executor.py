"""Run every message's client in a fork of one process that has everything imported already.

``python -P -m clients.executor ADDRESS``, where Flower would have ``flower-superexec``. That
one starts a new Python for every message, which imports for seconds, longer on a small device, and
holds a second copy of what this process shares with its children (docs/decisions/14).

What a child does is Flower's own: it pulls the message, installs the app and runs it, alone, and is
gone with all its memory afterwards. Of this package a device installs this file alone.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
import traceback
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime import run_clientapp as flower

from fedtiny.memory.allocator import trim
from fedtiny.node.limits import be_the_victim

CLIENT = "flwr-clientapp"
"""How a child is called where processes are listed; at most 15 letters."""

PREPARED = (
    "fedtiny.adapt.methods",
    "fedtiny.adapt.personal",
    "fedtiny.codecs.task",
    "fedtiny.config",
    "fedtiny.data.client",
    "fedtiny.data.kept",
    "fedtiny.devices.budget",
    "fedtiny.devices.tier_choice",
    "fedtiny.doctor.encoding",
    "fedtiny.node.measuring",
    "fedtiny.training.learning_rate",
    "fedtiny.training.local",
    "fedtiny.wire.adapt",
    "fedtiny.wire.calibrate",
    "fedtiny.wire.candidates",
    "fedtiny.wire.describe",
    "fedtiny.wire.encode",
    "fedtiny.wire.evaluate",
    "fedtiny.wire.join",
    "fedtiny.wire.kept",
    "fedtiny.wire.model_task",
    "fedtiny.wire.saliency",
    "fedtiny.wire.train",
    "encodings.cp437",
    "encodings.utf_8_sig",
)
"""What a client of ours imports, app and configuration aside, which travel with the run."""

_APP = "clients"
_POLL_S = 1.0  # Flower's own
_LEAVES_S = 10.0
_FIRST_LOOK_S, _LAST_LOOKS_S = 0.05, 1.0
_PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def execute(address: str) -> NoReturn:
    """Answer messages until this process is told to end, or who started it is gone.

    The node gives one message at a time: another one means that the one before is over, so its
    process is left a moment to end, and then is ended.

    Args:
        address: host and port of the SuperNode's interface for its clients, on this machine.

    Raises:
        httpx.HTTPStatusError: the SuperNode does not want this executor.
    """
    _end_with_parent()
    prepare()
    node = RuntimeHttpClient.from_server_address(
        address,
        insecure=True,  # as between all of a node's processes: it does not leave the machine
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperExec")],
        retry_invoker=make_simple_http_retry_invoker(),
    )
    wanted, child = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]), 0
    while True:
        child = 0 if child and _over(child) else child
        given = node.AcquireTask(wanted)
        if given.token:
            if child:
                _leave(child)
            child = answer(address, given.token)
        time.sleep(_POLL_S)


def prepare() -> None:
    """Import what clients need; what is there now is shared with every child."""
    for name in PREPARED:
        import_module(name)
    _look_often()
    gc.collect()
    gc.freeze()  # a collection in a child would write to every object, and so copy it
    trim()


def _look_often() -> None:
    """A node offers a message before all of it arrived: soon look again for what is missing.

    Flower's client lets pass 1 s, then 2, and up to 10 of them.
    """
    vars(flower)[pull_and_inflate_object_from_tree.__name__] = partial(
        pull_and_inflate_object_from_tree,
        initial_backoff=_FIRST_LOOK_S,
        backoff_cap=_LAST_LOOKS_S,
    )


def answer(address: str, token: str) -> int:
    """Fork a process that runs Flower's client for one message; its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    if child := os.fork():
        return child
    status = 1
    try:
        be_the_victim()
        _forget_this_app()
        Path("/proc/self/comm").write_text(CLIENT, encoding="utf-8")
        flower.run_clientapp(address, token, insecure=True, parent_pid=parent)
    except SystemExit as end:  # how Flower's client ends
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:  # nothing of the parent's is to be unwound or closed here
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _forget_this_app() -> None:
    """The app that travels with the run has a package of this name, and is the one to be found."""
    for name in [name for name in sys.modules if name.partition(".")[0] == _APP]:
        del sys.modules[name]


def _over(child: int) -> bool:
    """Whether a child has ended; then nothing of it is left."""
    return os.waitpid(child, os.WNOHANG)[0] == child


def _leave(child: int) -> None:
    """Have a child gone whose message is over."""
    patience = time.monotonic() + _LEAVES_S
    while not _over(child):
        if time.monotonic() > patience:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.05)


def _end_with_parent() -> None:
    """The kernel ends this process with the one that started it, whatever that dies of."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel knew
        raise SystemExit(1)


if __name__ == "__main__":
    execute(sys.argv[1])
