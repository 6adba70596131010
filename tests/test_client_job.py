"""A device takes part in the job that the server runs, and in no other."""

import json
from pathlib import Path

import pytest
from flwr.app import Context, Message, RecordDict

from clients.app import respond
from clients.job import OtherJobError, check_task, job_of, name_of
from clients.records import to_record
from fedtiny import config as run_config
from fedtiny.config import RunConfig, dump, parse
from fedtiny.wire.packet import Packet


def write_job(path: Path, seed: int) -> dict[str, str]:
    path.write_text(dump(RunConfig(seed=seed)), encoding="utf-8")
    return {"config": str(path), "overrides": json.dumps([])}


def answer(settings: dict[str, str], task: str, tmp_path: Path) -> Message:
    """What a device says to a task whose handler does nothing."""
    context = Context(1, 1, {"partition-id": 0, "data": str(tmp_path)}, RecordDict(), settings)
    message = Message(to_record(Packet({}, {}), task), 1, "query.calibrate")
    message.metadata.__dict__["_message_id"] = "1"
    return respond(message, context, lambda device, packet: Packet({}, {"seed": 1}))


@pytest.mark.usefixtures("assume_identity")
def test_a_config_that_was_edited_during_a_job_is_refused(tmp_path: Path) -> None:
    settings = write_job(tmp_path / "job.toml", 0)
    task = f"{name_of(RunConfig())} calibrate 3"
    assert answer(settings, task, tmp_path).has_content()
    write_job(tmp_path / "job.toml", 17)
    reply = answer(settings, task, tmp_path)
    assert reply.has_error()
    for part in ("OtherJobError", name_of(RunConfig()), name_of(RunConfig(seed=17)), "job.toml"):
        assert part in reply.error.reason
    write_job(tmp_path / "job.toml", 0)
    assert answer(settings, task, tmp_path).has_content()


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"learning_rate": 0.3}},
        {"data": {"test_fraction": 0.3}},
        {"pruning": {"density": 0.3}},
        {"devices": {"budget_bytes": {"0": 1000}}},
        {"seed": 1},
    ],
)
def test_every_edit_that_decides_results_is_seen(tmp_path: Path, change: dict[str, object]) -> None:
    settings = write_job(tmp_path / "job.toml", 0)
    with pytest.raises(OtherJobError, match="one of them was edited"):
        check_task(job_of(settings), f"{name_of(parse(change))} train 1", "job.toml")


def test_a_job_is_read_once_until_its_file_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, load = [], run_config.load
    monkeypatch.setattr(
        "fedtiny.config.load", lambda path, overrides: read.append(path) or load(path, overrides)
    )
    settings = write_job(tmp_path / "job.toml", 0)
    jobs = [job_of(settings) for _ in range(100)]
    assert len(read) == 1
    assert all(job is jobs[0] for job in jobs)
    write_job(tmp_path / "job.toml", 12345)
    assert job_of(settings).config.seed == 12345
    assert len(read) == 2
