"""The same bytes, whoever runs the clients, and however often the run is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from repeated_runs import results

from fedtiny.config import RunConfig, load
from fedtiny.data.shares import client_file
from fedtiny.data.simulated import deal_into
from fedtiny.errors import FedTinyError
from fedtiny.runs.events import Event
from fedtiny.runs.folder import RunFolder
from sims.backends import Backend, run_federation
from sims.flower_run import APP, SWITCHES, flower_run
from sims.grids.ray import RayGrid
from strategies.observer import Observer

ROUNDS = ["federation.rounds=3", "pruning.stop=2"]

RUN = """
import json, sys
from pathlib import Path
from fedtiny.config import load
from fedtiny.runs.folder import RunFolder
from sims.backends import Backend, run_federation

config, overrides, folder, backend, resume = sys.argv[1:]
run_federation(
    load(Path(config), json.loads(overrides)),
    RunFolder(Path(folder)),
    Backend(backend),
    resume == "resume",
)
"""

Configure = Callable[..., RunConfig]
Command = Callable[..., list[str]]


@pytest.fixture
def command(demo_config: Path, tiny_overrides: list[str]) -> Command:
    """The command line of a run in a fresh process."""

    def make(folder: Path, backend: str = "inline", resume: str = "anew") -> list[str]:
        overrides = json.dumps([*tiny_overrides, *ROUNDS])
        program = [sys.executable, "-c", RUN]
        return [*program, str(demo_config), overrides, str(folder), backend, resume]

    return make


@pytest.fixture
def federate(command: Command) -> Callable[..., RunFolder]:
    """Run the tiny federation in a fresh process."""

    def run(folder: Path, backend: str = "inline", resume: str = "anew", **env: str) -> RunFolder:
        environment = {**os.environ, **env}
        subprocess.run(command(folder, backend, resume), cwd=APP, env=environment, check=True)
        return RunFolder(folder)

    return run


_reference: dict[str, RunFolder] = {}


@pytest.fixture
def reference(
    federate: Callable[..., RunFolder], tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """An uninterrupted inline run; made once."""
    if "inline" not in _reference:
        folder = tmp_path_factory.mktemp("reference") / "run"
        _reference["inline"] = federate(folder, PYTHONHASHSEED="1")
    return _reference["inline"]


def assert_same_run(one: RunFolder, other: RunFolder) -> None:
    assert one.model.read_bytes() == other.model.read_bytes()
    assert results(one) == results(other)


def test_inline_in_another_process(
    reference: RunFolder, federate: Callable[..., RunFolder], tmp_path: Path
) -> None:
    assert_same_run(federate(tmp_path / "run", PYTHONHASHSEED="2"), reference)


def test_another_seed_gives_another_model(
    reference: RunFolder, tiny_config: Configure, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    run_federation(tiny_config(*ROUNDS, "seed=1"), folder, Backend.INLINE)
    assert folder.model.read_bytes() != reference.model.read_bytes()


def test_ray(reference: RunFolder, federate: Callable[..., RunFolder], tmp_path: Path) -> None:
    assert_same_run(federate(tmp_path / "run", "ray"), reference)


class Interrupt(Observer):
    """Stops a run as soon as it does something in ``round``."""

    def __init__(self, round: int) -> None:
        self._round = round

    def on_event(self, event: Event) -> None:
        if event.round == self._round:
            raise KeyboardInterrupt


def test_resumed_after_each_round(
    reference: RunFolder, tiny_config: Configure, tmp_path: Path
) -> None:
    config, folder = tiny_config(*ROUNDS), RunFolder(tmp_path)
    for round in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            run_federation(config, folder, Backend.INLINE, round > 1, [Interrupt(round)])
        assert not folder.model.exists()
    run_federation(config, folder, Backend.INLINE, resume=True)
    assert_same_run(folder, reference)


def test_resumed_after_kill_9(
    reference: RunFolder, command: Command, federate: Callable[..., RunFolder], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    process = subprocess.Popen(command(folder.path), cwd=APP)
    deadline = time.monotonic() + 200
    while not list(folder.checkpoints.glob("round-00001.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not folder.model.exists()
    assert_same_run(federate(folder.path, resume="resume"), reference)


def test_resumed_without_its_shares(
    reference: RunFolder, tiny_config: Configure, tmp_path: Path
) -> None:
    """One is lost, one is damaged, one is another device's: they are dealt again."""
    config, folder = tiny_config(*ROUNDS), RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_federation(config, folder, Backend.INLINE, observers=[Interrupt(1)])
    shares = [client_file(folder.data, k) for k in range(4)]
    shares[0].unlink()
    shares[1].write_bytes(shares[1].read_bytes()[:1000])
    shares[2].write_bytes(shares[3].read_bytes())
    run_federation(config, folder, Backend.INLINE, resume=True)
    assert_same_run(folder, reference)


def build_bundle(app: Path, folder: Path) -> Path:
    """The app as Flower bundles it, unpacked where nothing of the checkout is near."""
    flwr = Path(sys.executable).with_name("flwr")
    environment = {**os.environ, **SWITCHES, "FLWR_HOME": str(folder / "home")}
    subprocess.run(
        [flwr, "build", "--app", app], cwd=folder, env=environment, check=True, capture_output=True
    )
    (bundle,) = folder.glob("*.fab")
    unpacked = folder / "unpacked"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(unpacked)
    return unpacked


@pytest.mark.deploy
def test_flwr_run_from_a_bundle_elsewhere(
    reference: RunFolder,
    demo_config: Path,
    tiny_overrides: list[str],
    flower_app: Path,
    tmp_path: Path,
) -> None:
    """The bundle holds the apps only; the library is the installed one, the bytes are the same."""
    app = build_bundle(flower_app, tmp_path)
    tops = {path.relative_to(app).parts[0] for path in app.rglob("*.*") if path.is_file()}
    assert {"clients", "strategies", "sims", "pyproject.toml"} <= tops
    assert "fedtiny" not in tops
    assert (app / "sims/configs/demo.toml").read_bytes() == demo_config.read_bytes()
    for side in ("strategies", "clients"):
        with (app / side / "app.py").open("a", encoding="utf-8") as file:
            probe = tmp_path / side
            file.write("\nimport fedtiny, pathlib\n")
            where = "f'{fedtiny.__file__}\\n{__file__}'"
            file.write(f"pathlib.Path({str(probe)!r}).write_text({where})\n")
    folder = RunFolder(tmp_path / "run")
    overrides = [*tiny_overrides, *ROUNDS]
    config = load(demo_config, overrides)
    deal_into(folder.data, config.data, config.seed)
    flower_run(Path("sims/configs/demo.toml"), overrides, folder.path, 8, app=app, timeout_s=200)
    assert_same_run(folder, reference)
    show = [sys.executable, "-c", "import fedtiny; print(fedtiny.__file__)"]
    installed = subprocess.run(
        show, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True
    )
    for side in ("strategies", "clients"):
        library, shell = (tmp_path / side).read_text(encoding="utf-8").split("\n")
        assert library == installed.stdout.strip()
        assert not Path(shell).is_relative_to(APP)


@pytest.mark.deploy
def test_a_crash_inside_flower_is_an_error(demo_config: Path, tmp_path: Path) -> None:
    with pytest.raises(FedTinyError, match=r"(?s)finished:failed.*did you mean density"):
        flower_run(demo_config, ["pruning.densty=1"], tmp_path / "run", 8, timeout_s=200)


COUNTING_APP = """
    import os, signal
    from flwr.app import ConfigRecord, Message, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.query("count")
    def count(message, context):
        asked = dict(message.content["task"])
        once = os.path.join(os.path.dirname(__file__), "died")
        if context.node_config["partition-id"] == asked["dies"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if context.node_config["partition-id"] == asked["dies"] - 10 and not os.path.exists(once):
            open(once, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        before = dict(context.state.get("memory", {"calls": 0}))["calls"]
        context.state["memory"] = ConfigRecord({"calls": before + 1})
        answer = {"calls": before + 1, "partition": context.node_config["partition-id"]}
        return Message(RecordDict({"answer": ConfigRecord(answer)}), reply_to=message)
"""


@pytest.fixture
def counting_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayGrid]:
    """Six nodes on two actors; each counts its calls in its context's state."""
    (tmp_path / "counting_app.py").write_text(dedent(COUNTING_APP), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    grid = RayGrid("counting_app:app", 6, {}, 2)
    yield grid
    grid.close()


def count(grid: RayGrid, dies: int) -> dict[int, Message]:
    """Ask every node once; replies by partition."""
    content = RecordDict({"task": ConfigRecord({"dies": dies})})
    nodes = sorted(grid.get_node_ids())
    messages = [grid.create_message(content, "query.count", node, "1") for node in nodes]
    pending = dict(zip(grid.push_messages(messages), range(6), strict=True))
    replies: dict[int, Message] = {}
    deadline = time.monotonic() + 200
    while len(replies) < 6 and time.monotonic() < deadline:
        for reply in grid.pull_messages([x for x in pending if pending[x] not in replies]):
            replies[pending[reply.metadata.reply_to_message_id]] = reply
    return replies


@pytest.mark.deploy
def test_a_killed_ray_actor_is_replaced_and_its_message_tried_once_more(
    counting_grid: RayGrid,
) -> None:
    """Partition 3 kills every actor in the second turn, and 5 one in the third: nobody notices."""
    for dies, calls in ((-1, 1), (3, 2), (15, 3)):
        replies = count(counting_grid, dies)
        assert sorted(replies) == list(range(6))
        for partition, reply in replies.items():
            if partition == dies:
                assert reply.error.code == ErrorCode.CLIENT_APP_CRASHED
                assert "worker process died and was replaced" in reply.error.reason
                continue
            lost = 1 if (partition == 3 and calls > 2) else 0  # the state of the killed call
            answer = dict(reply.content["answer"])
            assert answer == {"calls": calls - lost, "partition": partition}
