"""What a real device measures, and that its budget holds: planned, free, and by the system."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_device_memory import BIG_MODEL, device_with
from test_device_memory import sparse_model as model_of

from clients import device as device_module
from clients import handlers
from clients.budget import within_budget
from clients.device import Device
from fedtiny.devices.planner import BudgetError
from fedtiny.engine import available, unavailable_reason
from fedtiny.memory import allocator
from fedtiny.memory.allocator import trim
from fedtiny.node import limits
from fedtiny.node.control_group import headroom_bytes, own_group
from fedtiny.node.limits import ALLOWANCE_BYTES, free_memory_bytes, mapped_bytes
from fedtiny.node.measuring import hardware, measure, recognised_board
from fedtiny.wire.measured import FIELDS, HIGHEST, Measured
from fedtiny.wire.packet import Packet

needs_engine = pytest.mark.skipif(not available(), reason=str(unavailable_reason()))
MB = 1 << 20


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


PI = {
    "proc/device-tree/model": "Raspberry Pi Zero 2 W Rev 1.0\0",
    "sys/class/thermal/thermal_zone0/temp": "61400\n",
    "sys/class/thermal/thermal_zone1/temp": "52000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1000000\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
}


def test_a_pi_says_how_it_is(tmp_path: Path) -> None:
    seen = measure(tmp_path / "not" / "yet", 2, write(tmp_path, PI))
    assert seen.hardware == "Raspberry Pi Zero 2 W Rev 1.0"
    assert recognised_board(tmp_path) == "pi_zero_2_w"
    assert (seen.temperature_c, seen.clock_mhz, seen.top_clock_mhz) == (61, 600, 1000)
    assert (seen.throttled, seen.set_aside) == (0x50005, 2)
    assert seen.free_disk_bytes
    assert seen.free_ram_bytes


def test_what_a_system_does_not_tell_is_left_out(tmp_path: Path) -> None:
    info = "processor\t: 0\nmodel name\t: Some CPU\n\nprocessor\t: 1\nmodel name\t: Some CPU\n"
    seen = measure(tmp_path, 0, write(tmp_path, {"proc/cpuinfo": info}))
    assert seen.hardware == "Some CPU, 2 cores, 0 MiB"
    assert recognised_board(tmp_path) == ""
    assert (seen.temperature_c, seen.clock_mhz, seen.top_clock_mhz, seen.throttled) == (None,) * 4
    assert "temperature_c" not in seen.packet().scalars


@pytest.mark.parametrize("told", ["", "hot", "-400000000", "9" * 30, "1.5e3", "\0"])
def test_a_broken_sensor_is_left_out(tmp_path: Path, told: str) -> None:
    changed = {name: told for name in PI if name != "proc/device-tree/model"}
    seen = measure(tmp_path, 0, write(tmp_path, PI | changed))
    assert (seen.clock_mhz, seen.top_clock_mhz, seen.throttled) == (None, None, None)
    assert seen.temperature_c in (None, 0)
    assert Measured.read(seen.packet()) == seen


@pytest.mark.parametrize("model", ["\x1b[31mPi\x07", "é" * 500, "\0\0", "a\nb"])
def test_any_model_string_can_be_shown(tmp_path: Path, model: str) -> None:
    write(tmp_path, {"proc/device-tree/model": model})
    assert Measured.read(Measured(hardware(tmp_path)).packet()) is not None


@pytest.mark.parametrize(("name", "high"), HIGHEST.items())
def test_a_number_outside_its_range_is_refused(name: str, high: int) -> None:
    whole = Measured("Pi").packet().scalars
    assert Measured.read(Packet({}, {**whole, name: high})) == Measured("Pi", **{name: high})
    for lie in (high + 1, -1, 0.5, float("nan"), 10**400, "hot"):
        with pytest.raises(Exception, match=name):
            Measured.read(Packet({}, {**whole, name: lie}))


def test_names_of_all_that_is_measured() -> None:
    assert set(FIELDS) == set(Measured.__dataclass_fields__) == {"hardware", *HIGHEST}
    assert Measured.read(Packet()) is None


GROUP = {
    "memory.max": f"{512 * MB}\n",
    "memory.current": f"{300 * MB}\n",
    "memory.stat": f"anon 5\ninactive_file {30 * MB}\nactive_file {10 * MB}\n",
}
INNER = {"memory.max": "max\n", "memory.current": f"{100 * MB}\n", "memory.stat": "anon 5\n"}


def tree(tmp_path: Path, lines: str, groups: dict[str, dict[str, str]]) -> tuple[Path, Path]:
    for folder, files in groups.items():
        write(tmp_path / "fs" / folder, files)
    return write(tmp_path, {"groups": lines}) / "groups", tmp_path / "fs"


def test_the_tightest_group_counts(tmp_path: Path) -> None:
    groups = {"sys/unit/node": INNER, "sys/unit": GROUP}
    assert headroom_bytes(*tree(tmp_path, "0::/sys/unit/node\n", groups)) == 252 * MB
    tighter = {**GROUP, "memory.max": f"{310 * MB}\n"}
    assert headroom_bytes(*tree(tmp_path, "0::/sys/unit/node\n", {"sys": tighter})) == 50 * MB
    full = {**GROUP, "memory.max": "5"}
    assert headroom_bytes(*tree(tmp_path, "0::/sys/unit/node\n", {"sys": full})) == 0


def test_groups_of_version_1(tmp_path: Path) -> None:
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
    stat = f"total_inactive_file {MB}\ntotal_active_file {MB}\n"
    one = dict(zip(names, (f"{64 * MB}", f"{60 * MB}", stat), strict=True))
    lines = "5:cpu:/\n4:memory:/a/b\n0::/\n"
    assert headroom_bytes(*tree(tmp_path, lines, {"memory/a": one})) == 6 * MB
    endless = one | {"memory.limit_in_bytes": "9223372036854771712"}
    assert headroom_bytes(*tree(tmp_path, lines, {"memory/a": endless})) is None


@pytest.mark.parametrize("lines", ["", "0::/gone\n", "4:memory:/gone\n"])
def test_without_groups_there_is_no_limit(tmp_path: Path, lines: str) -> None:
    assert headroom_bytes(*tree(tmp_path, lines, {})) is None
    assert headroom_bytes(tmp_path / "nothing", tmp_path) is None


def test_a_delegated_group_gets_a_limit(tmp_path: Path) -> None:
    """As files: no kernel with a delegated memory controller was at hand."""
    kernel = {"unit": {"cgroup.procs": ""}, "unit/node": {"cgroup.procs": ""}}
    listed, root = tree(tmp_path, "0::/unit/node\n", kernel)
    with own_group(5000, listed, root) as entered:
        assert entered
        (group,) = (root / "unit").glob("fedtiny-task-*")
        told = {file.name: file.read_text(encoding="utf-8") for file in group.iterdir()}
        assert told == {"memory.max": "5000", "cgroup.procs": str(os.getpid())}
        control = (root / "unit/cgroup.subtree_control").read_text(encoding="utf-8")
        assert control == "+memory"
        for file in group.iterdir():
            file.unlink()  # a kernel's group has no files of its own
    assert not group.exists()
    assert (root / "unit/node/cgroup.procs").read_text(encoding="utf-8") == str(os.getpid())


def test_without_delegation_nothing_is_changed(tmp_path: Path) -> None:
    listed, root = tree(tmp_path, "0::/unit\n", {"unit": {}})
    with own_group(5000, listed, root) as entered:
        assert not entered
    assert not list(root.rglob("fedtiny-task-*"))


def test_free_memory_is_the_smaller_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    for ram, group, free in ((5, None, 5), (5, 3, 3), (0, 3, 3), (0, None, None), (2, 0, 0)):
        monkeypatch.setattr(limits, "free_ram_bytes", lambda ram=ram: ram)
        monkeypatch.setattr(limits, "headroom_bytes", lambda group=group: group)
        assert free_memory_bytes() == free


def real_device(board: str = "pi_5") -> Device:
    device = device_with(BIG_MODEL, "fedtiny")
    made = replace(device, board=board, real=True)
    made.__dict__["data"] = device.data
    return made


@needs_engine
@pytest.mark.parametrize("board", ["pi_5", ""])
def test_what_does_not_fit_the_free_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch, board: str
) -> None:
    device = real_device(board)
    masks = model_of(device.graph, 0.01).masks
    device.plan(masks, {})
    monkeypatch.setattr(device_module, "free_memory_bytes", lambda: MB)
    said = r"only 1\.00 MiB of its memory is free now; its largest ledger line is \w+ \("
    with pytest.raises(BudgetError, match=said) as caught:
        device.plan(masks, {})
    assert caught.value.excess_bytes > 0
    assert (board or hardware()) in str(caught.value)
    with pytest.raises(BudgetError, match=said):
        handlers.describe(device, Packet())
    simulated = replace(device, real=False)  # plans for the board that it stands for
    simulated.__dict__["data"] = device.data
    assert (simulated.plan(masks, {}) is None) == (board == "")


@needs_engine
def test_an_unknown_board_is_named_with_the_fix(caplog: pytest.LogCaptureFixture) -> None:
    assert real_device("").measure(0).hardware == hardware()
    (said,) = (record.getMessage() for record in caplog.records)
    assert hardware() in said
    assert "device=" in said
    caplog.clear()
    assert real_device("pi_5").measure(0)
    assert not caplog.records
    assert device_with(BIG_MODEL, "fedtiny").measure(0) is None


PRELUDE = f"""
import json, resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_device_limits import *
"""


def child(script: str) -> dict[str, object]:
    """What a process of its own prints: limits of this one would be those of the tests."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script],
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},  # as on a device
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


OVERRUN = """

from test_device_memory import unnormalized, TrainTask
device = real_device()
model = model_of(device.graph, 0.01)
task = TrainTask(1, model, unnormalized(3), {}, meter=False).packet(device.graph)
plan = device.plan(model.masks, {})
soft = resource.getrlimit(resource.RLIMIT_AS)
said = []
for size in (plan.budget_bytes, 2048, 2048, plan.budget_bytes):
    # The plan is wrong: it promises to fit a budget that it does not fit.
    wrong = replace(plan, budget_bytes=size)
    limits.ALLOWANCE_BYTES = 2 << 20
    type(device).plan = lambda *_: wrong
    try:
        handlers.train(device, task)
        said.append("trained")
    except BudgetError as error:
        said.append(str(error))
assert resource.getrlimit(resource.RLIMIT_AS) == soft
adjusted = Path("/proc/self/oom_score_adj").read_text()
print(json.dumps({"said": said, "victim": int(adjusted)}))
"""


@needs_engine
def test_training_beyond_the_budget_is_stopped_and_the_process_goes_on() -> None:
    found = child(OVERRUN)
    first, beyond, again, last = found["said"]
    assert again == beyond
    assert first == last == "trained"
    assert re.search(r"pi_5: training asked for more than its budget of 2\.00 KiB", beyond)
    assert "stopped there by the operating system; the node goes on" in beyond
    assert re.search(r"the largest ledger line is \w+ \(", beyond)
    assert found["victim"] == 500


ADAPT_OVERRUN = """
import tempfile
from flwr.app import Context, Message, RecordDict
from test_client_job import name_of, run_config, write_job, RunConfig
from test_device_memory import unnormalized
from clients.adapting import adapt
from clients.app import respond
from clients.records import to_record
from fedtiny.adapt import budget, learning
from fedtiny.devices.catalog import get
from fedtiny.memory.ledger import MemoryPrediction
from fedtiny.wire.adapt import AdaptTask
from fedtiny.wire.model_task import ModelTask
from sims.grids.identity import assume_identity
assume_identity()
device = real_device()
tree = device.config.model_dump(mode="json")
tree["federation"]["adapt"] = "federated"
tree["adapt"] = {"method": "norm_head", "steps": 1}
device.__dict__["config"] = run_config.parse(tree)
model = model_of(device.graph, 0.01)
packet = AdaptTask(ModelTask(model, unnormalized(3)), 1).packet(device.graph)
predicted, board = learning.predicted, get("pi_5")
soft = resource.getrlimit(resource.RLIMIT_AS)
said = []
with tempfile.TemporaryDirectory() as place:
    settings = write_job(Path(place) / "job.toml", 0)
    context = Context(1, 1, {"partition-id": 0, "data": place}, RecordDict(), settings)
    for divisor in (4096, 1):
        # The plan is wrong: it promises to fit a budget that it does not fit.
        size = board.training_budget_bytes // divisor
        budget.profile_of = lambda *_: replace(board, training_budget_bytes=size)
        learning.predicted = lambda *a: MemoryPrediction(
            {k: v // divisor for k, v in predicted(*a).lines.items()}
        )
        limits.ALLOWANCE_BYTES = 2 << 20
        message = Message(to_record(packet, f"{name_of(RunConfig())} adapt 1"), 1, "query.adapt")
        message.metadata.__dict__["_message_id"] = "1"
        reply = respond(message, context, lambda _, packet: adapt(device, packet))
        said.append(reply.error.reason if reply.has_error() else "adapted")
assert resource.getrlimit(resource.RLIMIT_AS) == soft
print(json.dumps({"said": said}))
"""


@needs_engine
def test_adapting_beyond_the_budget_is_a_refusal_in_the_reply() -> None:
    beyond, within = child(ADAPT_OVERRUN)["said"]
    assert within == "adapted"
    assert "BudgetError: pi_5: training asked for more than its budget of 64.0 KiB" in beyond
    assert "stopped there by the operating system; the node goes on" in beyond
    assert re.search(r"the largest ledger line is \w+ \(", beyond)


SWEEP = """
import numpy as np
from builders import batch_of, random_model
from fedtiny.engine import EngineOptions, Executor
from fedtiny.models import build
graph = build("resnet8", (3, 32, 32), 10)
model, (x, y) = random_model(graph, 0.1), batch_of(graph, 4)
Executor(graph, model, EngineOptions(4)).step(x, y)
deep = []
for _ in range(3000):
    deep = [deep]
sys.setrecursionlimit(5000)
repr(deep)  # a stack that has to grow where memory ends is answered with a signal, not an error
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
ends = []
for more in range(0, 16 << 20, 1 << 15):
    trim()
    resource.setrlimit(resource.RLIMIT_AS, (mapped_bytes() + more, hard))
    try:
        trainer = Executor(graph, model, EngineOptions(4))
        trainer.step(x, y)
        trainer.growth(x, y, {name: 20 for name in model.masks})
        ends.append("trained")
    except MemoryError:
        ends.append("refused")
    finally:
        trainer = None
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
print(json.dumps({"ends": ends}))
"""


@needs_engine
def test_the_engine_fails_cleanly_wherever_memory_ends() -> None:
    ends = child(SWEEP)["ends"]
    assert ends[0] == "refused"
    assert ends[-1] == "trained"


FLAT = """
import tempfile
from sims.bench.client import write_message
from sims.bench.client_process import answer, load
with tempfile.TemporaryDirectory() as folder:
    path = write_message(Path(folder) / "message.npz", "train", "sparse")
    app, seen = load(), []
    for _ in range(20):
        answer(app, path, {"data": str(folder)})
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        seen.append(pages * resource.getpagesize() / 1e6)
print(json.dumps({"seen": seen}))
"""


@needs_engine
def test_memory_of_a_client_that_lives_on_is_flat() -> None:
    seen = child(FLAT)["seen"]
    assert max(seen[15:]) - max(seen[5:10]) < 0.5, seen


def test_freed_memory_goes_back() -> None:
    assert isinstance(trim(), bool)
    assert mapped_bytes() > 10 * MB
    assert mapped_bytes(Path("/nothing")) == 0
    assert ALLOWANCE_BYTES == 32 * MB


def test_another_c_library_has_nothing_to_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    assert trim() is False


def test_other_errors_keep_their_name() -> None:
    device = real_device()
    with (
        pytest.raises(RuntimeError, match="something else"),
        within_budget(device, None, model_of(device.graph, 0.01)),
    ):
        raise RuntimeError("something else")
