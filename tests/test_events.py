"""metrics.jsonl: what is written comes back, and damage is named instead of believed."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fedtiny.memory.ledger import LedgerEntry, LedgerLine
from fedtiny.memory.step import StepPlan
from fedtiny.runs.event_json import EventError, UnknownKindError, from_json, to_json
from fedtiny.runs.event_parts import Failure, Story, Traffic
from fedtiny.runs.events import (
    Adjusted,
    DeviceDescribed,
    Evaluated,
    Event,
    Exchanged,
    Metered,
    ModelPrepared,
    Pretrained,
    RoundFinished,
    RunFinished,
    RunStarted,
)
from fedtiny.runs.metrics import MetricsError, MetricsWriter, read
from fedtiny.wire.phase import Phase

LEDGER = LedgerEntry(
    3, "pi_4", 900, 700, 650, 32, StepPlan(8, ("conv2",)), dict.fromkeys(LedgerLine, 7)
)
STORY: Story = {
    "method": "fedtiny",
    "selection": "adaptive",
    "scores": "magnitude",
    "chosen": 1,
    "losses": [2.0, float("inf")],
    "densities": [{"conv2": 0.1}, {"conv2": 0.3}],
}
STATE = (0.05, 0.08, 1456, {"conv2": 0.1, "conv3": 0.06})
EVENTS: list[Event] = [
    RunStarted(0, "sparse (avx2)", "smartwatch_cnn", 63591, 512, 11554752),
    DeviceDescribed(0, 3, 258, LEDGER),
    DeviceDescribed(0, 4, 20, None),
    Pretrained(0, 8.04, 35, 60, 1.0),
    ModelPrepared(0, *STATE, STORY),
    Exchanged(
        2,
        Phase.TRAIN,
        8,
        7,
        Traffic(10, 20, {"masks": 4, "values": 6}),
        Traffic(7, 15, {"loss": 7}),
        (Failure(5, 'no "reply" within 9 s\n'),),
        0.25,
    ),
    Metered(1, 3, LEDGER),
    Evaluated(2, "unseen_people", 9, 10, 6, 12.5, ((4, 1), (3, 2))),
    Adjusted(2, {"conv3": 7}),
    RoundFinished(2, *STATE, loss=float("inf"), seconds=0.5, adjustment_flops=12),
    RunFinished(41, 42.5),
]

LINE_OF_THE_FIRST_VERSION = (
    '{"event": "exchange", "phase": "join", "round": 0, "asked": 8, "answered": 8, '
    '"down": {"payload": 0, "wire": 2680, "kinds": {}}, '
    '"up": {"payload": 64, "wire": 2824, "kinds": {"partition": 64}}, '
    '"failures": [], "seconds": 9.3275}\n'
)


def lines(events: list[Event]) -> list[bytes]:
    return [json.dumps(to_json(event)).encode() for event in events]


def test_every_kind_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path, EVENTS[:4])
    for event in EVENTS[4:]:
        writer.write(event)
        assert read(path).events[-1] == event  # on disk at once
    writer.close()
    assert read(path).events == tuple(EVENTS)
    assert read(path).notes == ()
    assert list(to_json(EVENTS[0]))[:2] == ["event", "round"]


def test_a_line_of_the_first_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(LINE_OF_THE_FIRST_VERSION, encoding="utf-8")
    (event,) = read(path).of(Exchanged)
    assert (event.phase, event.up.kinds) == (Phase.JOIN, {"partition": 64})


def test_a_line_cut_off_by_a_crash_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = b"".join(line + b"\n" for line in lines(EVENTS[:3]))
    (last,) = lines(EVENTS[5:6])
    for end in (0, 1, len(last) // 2, len(last)):
        path.write_bytes(whole + last[:end])
        assert read(path).events == tuple(EVENTS[:3])


def test_kinds_and_fields_of_another_version_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [to_json(event) for event in EVENTS]
    rows[5]["up"]["protocol"] = 7
    rows[5]["failures"][0]["tier"] = "mcu"
    rows[-1]["watts"] = [1, 2]
    rows[-2]["loss"] = 1.0
    rows += [{"event": "weather", "round": 1, "rain": True}] * 2
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = read(path)
    finished = replace(EVENTS[-2], loss=1.0)  # type: ignore[call-arg]
    assert found.events == (*EVENTS[:-2], finished, EVENTS[-1])
    assert found.notes == (
        "field 'exchange.up.protocol' (1×): unknown to this version",
        "field 'exchange.failures.0.tier' (1×): unknown to this version",
        "field 'end.watts' (1×): unknown to this version",
        "events of kind 'weather' (2×): unknown to this version",
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"asked": 8, ', "", "exchange.asked: Field required"),
        ('"asked": 8', '"asked": "8"', "exchange.asked: .*valid integer"),
        ('"asked": 8', '"asked": -8', "exchange.asked: .*greater than or equal to 0"),
        ('"asked": 8', '"asked": 1e400', "exchange.asked"),
        ('"phase": "join"', '"phase": "jion"', "exchange.phase: .*'join', 'describe'"),
        ('"wire": 2824', '"wire": null', "exchange.up.wire"),
        ('"failures": []', '"failures": [{"reason": "?"}]', "failures.0.partition: Field required"),
        ('"event": "exchange", ', "", "event"),
        ("}\n", "\n", "Invalid JSON"),
    ],
)
def test_damage_is_named_by_file_line_and_field(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    assert old in LINE_OF_THE_FIRST_VERSION
    path.write_text(
        LINE_OF_THE_FIRST_VERSION + LINE_OF_THE_FIRST_VERSION.replace(old, new), encoding="utf-8"
    )
    with pytest.raises(MetricsError, match=rf"metrics\.jsonl, line 2: .*{words}"):
        read(path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("count", 11, "count should be the sum"),
        ("correct", 7, "correct should be the sum"),
        ("confusion", [[4, 1], [5]], "a row and a column for each class"),
        ("group", "nobody", "evaluation.group"),
    ],
)
def test_an_evaluation_agrees_with_itself(field: str, value: object, words: str) -> None:
    row = to_json(EVENTS[7]) | {field: value}
    with pytest.raises(EventError, match=words):
        from_json(json.dumps(row).encode())


MUTATIONS = 20_000
ALPHABET = b'{}[]",:-+.eE0123456789abcdefnrtulsINy \\\n\r\t\x00\x1f\x7f\xc3\xff'
VALUES: list[object] = [
    None, True, -1, 0, 2**53, 10**30, 1.5, float("nan"), float("-inf"), "", "8", "é\u2028",
    "\x00", [], [1], [[1]], {}, {"a": 1}, {"event": "end"},
]  # fmt: skip


def mutated_bytes(line: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, cut out, repeated or put in."""
    data = bytearray(line)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice([1, 1, 2, 8, 40]))
        new = bytes(draw.choices(ALPHABET, k=draw.randint(0, 3)))
        data[at:end] = draw.choice([new, new, data[at:end] * 2, new + data[at:end], b"[" * 300])
    return bytes(data)


def mutated_tree(line: bytes, draw: random.Random) -> bytes:
    """Still JSON: a value replaced, a key gone, new, renamed or there twice."""
    tree = json.loads(line)
    at, inner = tree, [tree]
    while inner:
        at = draw.choice(inner)
        values = at.values() if isinstance(at, dict) else at
        inner = [one for one in values if isinstance(one, dict | list) and one]
        if draw.random() < 0.4:
            break
    key = draw.choice(list(at)) if isinstance(at, dict) else draw.randrange(len(at))
    match draw.randrange(4):
        case 0:
            del at[key]
        case 1 if isinstance(at, dict):
            at[draw.choice(["x", "up", "lines", "step", "event"])] = draw.choice(VALUES)
        case 2 if isinstance(at, dict):
            at[f"{key}_"] = at.pop(key)
        case _:
            at[key] = draw.choice(VALUES)
    text = json.dumps(tree)
    if draw.random() < 0.2:
        text = text[:-1] + ", " + json.dumps({"up": draw.choice(VALUES)})[1:]
    return text.encode()


def test_whatever_happens_to_a_line_only_our_error_or_a_checked_event_comes_of_it() -> None:
    draw = random.Random(9)
    whole = lines(EVENTS)
    started, outcomes = time.monotonic(), {"event": 0, "unknown": 0, "error": 0}
    for k in range(MUTATIONS):
        mutate = mutated_tree if k % 2 else mutated_bytes
        text = mutate(draw.choice(whole), draw)
        try:
            event, _ = from_json(text)
        except UnknownKindError:
            outcomes["unknown"] += 1
        except EventError:
            outcomes["error"] += 1
        else:
            outcomes["event"] += 1
            # What was let through is what a writer could have written.
            again = json.dumps(to_json(event)).encode()
            assert json.dumps(to_json(from_json(again)[0])).encode() == again
            assert type(event) in set(map(type, EVENTS))
    assert min(outcomes.values()) > 100, outcomes
    assert time.monotonic() - started < 30


def test_whatever_happens_to_a_file_it_is_read_or_the_line_is_named(tmp_path: Path) -> None:
    draw, path = random.Random(10), tmp_path / "metrics.jsonl"
    text = b"".join(line + b"\n" for line in lines(EVENTS))
    complaints = []
    for _ in range(500):
        path.write_bytes(mutated_bytes(text, draw))
        try:
            read(path)
        except MetricsError as error:
            complaints.append(str(error))
    assert 100 < len(complaints) < 500
    assert all(one.startswith(f"{path}, line ") and len(one) < 1000 for one in complaints)
