"""A node's executor: everything is there before a message comes, and no child stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from flwr.app import ConfigRecord, RecordDict
from flwr.clientapp.client_app import LoadClientAppError
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectUnavailableError,
    pull_and_inflate_object_from_tree,
)
from flwr.supercore.object_ref import load_app
from flwr.supernode.runtime import run_clientapp as flower

from clients import executor
from sims.bench.client import write_message
from sims.flower_run import APP, SWITCHES

MODULES = """
import json, os, sys
from pathlib import Path
from clients.executor import prepare
prepare()
prepared, threads = set(sys.modules), len(os.listdir("/proc/self/task"))
from sims.bench.client_process import answer, load  # with all of Flower's command, to hand it over
before = set(sys.modules)
for message in sys.argv[1:]:
    answer(load(), Path(message))
print(json.dumps([threads, sorted(prepared), sorted(set(sys.modules) - before)]))
"""

OF_THE_APP = {"clients", "sims"}
"""What travels with the run; sims is this test's way to hand a message over."""

HEAVY = {"torch", "pandas", "matplotlib", "ray", "scipy", "sqlalchemy"}


def test_clients_find_everything_imported_by_one_thread(tmp_path: Path) -> None:
    """A module that is missing there would be imported for every message again."""
    messages = [write_message(tmp_path / f"{k}.npz", k, "sparse") for k in ("describe", "train")]
    done = subprocess.run(
        [sys.executable, "-c", MODULES, *map(str, messages)],
        cwd=APP,
        env={**os.environ, **SWITCHES, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    threads, prepared, added = json.loads(done.stdout)
    assert threads == 1, "a fork has only the thread that forks: others' locks would stay locked"
    missing = [name for name in added if name.partition(".")[0] not in OF_THE_APP]
    assert missing == [], "add to PREPARED in clients/executor.py what needs them"
    ours = {name for name in prepared if name.partition(".")[0] in OF_THE_APP}
    assert ours == {"clients", "clients.executor"}, "a device has no more of the app"
    assert not HEAVY & set(prepared)


def test_a_message_that_is_late_is_looked_for_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node offers its message before it has all of it; Flower's client waits 1 s, 2, up to 10."""
    name = pull_and_inflate_object_from_tree.__name__
    monkeypatch.setattr(flower, name, vars(flower)[name])  # put back afterwards
    executor._look_often()
    pull = vars(flower)[name]
    assert name in flower.pull_task_input.__code__.co_names, "it is that one it calls"
    record = RecordDict({"numbers": ConfigRecord({"one": 1})})
    objects = {k: one.deflate() for k, one in get_all_nested_objects(record).items()}
    asked: list[float] = []

    def late(one: str) -> bytes:
        asked.append(time.monotonic())
        if asked[-1] < asked[0] + 0.3:
            raise ObjectUnavailableError(one)
        return objects[one]

    got = pull(get_object_tree(record), late, lambda _: None, return_type=RecordDict)
    assert got == record
    assert asked[-1] - asked[0] < 0.9, "Flower's own first pause is 0.8 s at least"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], None]], None]:
    """Makes a function of the task's token what runs in a child."""

    def use(run: Callable[[str], None]) -> None:
        def run_clientapp(_: str, token: str, **__: object) -> None:
            run(token)

        monkeypatch.setattr(flower, "run_clientapp", run_clientapp)

    return use


def leave(token: str) -> NoReturn:
    sys.exit(int(token))


def fail(token: str) -> NoReturn:
    raise MemoryError(token)


@pytest.mark.parametrize(("run", "token", "status"), [(leave, "7", 7), (fail, "x", 1)])
def test_a_child_ends_with_its_own_status_and_nothing_of_its_parent_s(
    client: Callable[..., None], run: Callable[[str], None], token: str, status: int
) -> None:
    client(run)
    child = executor.answer("127.0.0.1:1", token)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status


def test_a_child_takes_the_app_that_travels_with_the_run_and_is_the_first_to_go(
    client: Callable[..., None], tmp_path: Path
) -> None:
    package = tmp_path / "clients"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "app.py").write_text('app = "the run\'s"\n', encoding="utf-8")

    def run(token: str) -> None:
        app = load_app("clients.app:app", LoadClientAppError, token)
        (tmp_path / "found").write_text(app, encoding="utf-8")
        (tmp_path / "score").write_bytes(Path("/proc/self/oom_score_adj").read_bytes())

    client(run)
    os.waitpid(executor.answer("127.0.0.1:1", str(tmp_path)), 0)
    assert (tmp_path / "found").read_text(encoding="utf-8") == "the run's"
    own = int(Path("/proc/self/oom_score_adj").read_text(encoding="utf-8"))
    score = int((tmp_path / "score").read_text(encoding="utf-8"))
    assert score > own, "where memory ends, a client is killed, not the node"


class Tasks:
    """A node that has tasks with these tokens, one a look; then it wants no executor any more."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    def AcquireTask(self, _: object) -> SimpleNamespace:  # noqa: N802 - Flower's name
        if not self._tokens:
            raise ConnectionError
        return SimpleNamespace(token=self._tokens.pop(0))


def test_a_child_whose_message_is_over_is_gone_before_the_next(
    client: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It hangs, or was stopped: its node gave it up, else it would have nothing new."""

    def write(token: str) -> None:
        (tmp_path / token).write_text(str(os.getpid()), encoding="utf-8")
        if token == "hangs":
            os.kill(os.getpid(), signal.SIGSTOP)

    client(write)
    for name, value in {"_POLL_S": 0.3, "_LEAVES_S": 0.1, "_end_with_parent": lambda: None}.items():
        monkeypatch.setattr(executor, name, value)
    monkeypatch.setattr(executor, "prepare", lambda: None)
    clients = SimpleNamespace(from_server_address=lambda *_, **__: Tasks("hangs", "", "next", ""))
    monkeypatch.setattr(executor, "RuntimeHttpClient", clients)
    with pytest.raises(ConnectionError):
        executor.execute("127.0.0.1:1")
    for token in ("hangs", "next"):
        child = (tmp_path / token).read_text(encoding="utf-8")
        assert not Path("/proc", child).exists(), "not even a zombie"


WATCH = "import sys; from fedtiny.node.watching import watch; sys.exit(watch({}, {}, 1))"
LIVES = ["sleep", "600"]


@pytest.mark.parametrize(
    ("node", "helper", "words"),
    [
        (LIVES, ["sh", "-c", "echo no memory; exit 3"], "this node's clients ended with status 3"),
        (["sh", "-c", "echo No space left on device; exit 1"], LIVES, "the disk is full"),
    ],
)
def test_the_watcher_ends_both_when_one_ends(
    node: list[str], helper: list[str], words: str
) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", WATCH.format(node, helper)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "no memory" in done.stdout or "No space" in done.stdout
    assert time.monotonic() - started < 60
