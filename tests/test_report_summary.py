"""report.json and report.md of a run whose every event was written by hand."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from builders import sparse_model

from fedtiny import config as run_config
from fedtiny.data.statistics import InputStatistics
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import LedgerEntry, LedgerLine
from fedtiny.memory.step import StepPlan
from fedtiny.methods.device import DeviceHalf
from fedtiny.models import smartwatch_cnn
from fedtiny.pruning.bn_selection import Moments
from fedtiny.report import headline, overlay, results_markdown, write
from fedtiny.report.aggregate import aggregate
from fedtiny.report.ledger_table import MOST_ROWS, ledger_table
from fedtiny.report.markdown import achieved, render
from fedtiny.report.metrics import read_run
from fedtiny.report.sections import departures, measured
from fedtiny.report.summary import summarize
from fedtiny.report.words import DEPARTURES
from fedtiny.runs.event_json import to_json
from fedtiny.runs.event_parts import Traffic
from fedtiny.runs.events import (
    Adjusted,
    DeviceDescribed,
    Evaluated,
    Exchanged,
    Metered,
    ModelPrepared,
    Pretrained,
    RoundFinished,
    RunStarted,
)
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.metrics import MetricsError, MetricsWriter
from fedtiny.training.local import LocalUpdate
from fedtiny.training.trainer import Evaluation
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.candidates import CandidateLosses, CandidateStatistics
from fedtiny.wire.describe import Description
from fedtiny.wire.evaluate import EvaluationResult
from fedtiny.wire.measured import Measured
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult

ROUNDS = 3
PARTITIONS = 2
STORY = {
    "method": "fedtiny",
    "selection": "adaptive",
    "scores": "magnitude",
    "chosen": 1,
    "losses": [2.0, 1.5],
    "densities": [{"conv2": 0.05, "conv3": 0.05}, {"conv2": 0.08, "conv3": 0.04}],
}
EXPORT = {
    "int8": {"same_people": 0.75, "unseen_people": 0.5},
    "float": {"same_people": 0.8, "unseen_people": 0.5},
    "vectors": 30,
    "mismatches": 0,
    "flash_bytes": 10240,
    "arena_bytes": 4096,
    "code_bytes": 2048,
    "layers": [
        {"name": "conv1", "kernel": "conv_s8", "format": "N4", "density": 0.05, "flash_bytes": 9}
    ],
}


def ledger(partition, micro_batch, measured=None):
    lines = dict.fromkeys(LedgerLine, 0) | {LedgerLine.WEIGHTS: 700, LedgerLine.BATCH: 300}
    step = StepPlan(micro_batch, ("conv1", "conv3") if micro_batch < 64 else ())
    return LedgerEntry(partition, "esp32_s3", 2048, 1000, measured, 64, step, lines)


def exchange(phase, round, up, down, asked=PARTITIONS, **kinds):
    """``up`` and ``down`` are payload bytes; wire is 100 more."""
    sizes = Traffic(down, down + 100, {}), Traffic(up, up + 100, kinds)
    return Exchanged(round, Phase(phase), asked, asked, *sizes, (), 0.5)


STATE = (0.049, 0.081, 150, {"conv2": 0.08, "conv3": 0.04})


def evaluation(round, group, who, right, wrong):
    confusion = ((right, 0), (wrong, 0))
    return Evaluated(round, group, who, right + wrong, right, 1.0, confusion)


def events(rounds, story, bonus):
    yield exchange("join", 0, 16, 0, partition=16)
    yield RunStarted(0, "sparse", "smartwatch_cnn", 1000, 24, 600)
    yield exchange("describe", 0, 32, 0, samples=16, readings=16)
    for partition in range(PARTITIONS):
        yield DeviceDescribed(0, partition, 9, ledger(partition, 8 if partition else 64))
    yield Pretrained(0, 0.0, 35, 20, 0.6)
    yield ModelPrepared(0, *STATE, story)
    for round in range(1, rounds + 1):
        yield exchange("train", round, 200, 300, values=160, loss=40)
        if round == 1:
            yield Metered(1, 0, ledger(0, 64, 1250))
        yield exchange("evaluate", round, 8, 300, loss_sum=8)
        yield evaluation(round, "same_people", 0, 5 + bonus, 5 - bonus)
        yield evaluation(round, "same_people", 1, 25 + round, 5 - round)
        yield evaluation(round, "unseen_people", 9, 5 + bonus, 15 - bonus)
        if round == 2:
            yield Adjusted(2, {"conv3": 7})
        yield RoundFinished(round, *STATE, loss=1.0, seconds=2.0, adjustment_flops=0)


def make_run(path, *, rounds=ROUNDS, story=STORY, bonus=0, export=None, **sections):
    federation = {"rounds": ROUNDS}
    tree = {"name": path.name, "data": {"partitions": PARTITIONS}, "federation": federation}
    folder = RunFolder(path)
    folder.create(run_config.parse(tree | sections))
    MetricsWriter(folder.metrics, events(rounds, story, bonus)).close()
    if export is not None:
        (path / "export.json").write_text(json.dumps(export), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run with everything; written once."""
    path = tmp_path_factory.mktemp("runs") / "demo"
    made = make_run(path, export=EXPORT)
    make_run(path / "dense_reference", story={"method": "dense"}, bonus=2)
    return made


@pytest.fixture(scope="module")
def report(folder):
    return write(folder)


def test_accuracy_is_of_all_samples_of_the_last_round(report):
    assert report["accuracy"]["float"] == {"same_people": 33 / 40, "unseen_people": 5 / 20}
    assert report["dense_reference"] == {"same_people": 35 / 40, "unseen_people": 7 / 20}
    assert report["accuracy"]["int8"] == EXPORT["int8"]


def test_bytes_count_every_phase_and_dense_equivalent_is_the_formula(report):
    up, down = report["bytes"]["up"], report["bytes"]["down"]
    assert up["payload"] == 16 + 32 + ROUNDS * (200 + 8)
    assert up["wire"] == up["payload"] + 100 * (2 + 2 * ROUNDS)
    assert down["payload"] == ROUNDS * (300 + 300)
    assert up["dense_equivalent"] == down["dense_equivalent"]
    assert up["dense_equivalent"] == PARTITIONS * ROUNDS * 4 * (1000 + 24)
    assert sum(row["wire"] for row in report["phases"] if row["direction"] == "up") == up["wire"]


def test_dense_equivalent_counts_participants_not_partitions(tmp_path):
    folder = make_run(tmp_path / "run")
    text = folder.metrics.read_text(encoding="utf-8")
    all_asked = '"round": 1, "phase": "train", "asked": 2'
    assert all_asked in text
    folder.metrics.write_text(
        text.replace(all_asked, all_asked.replace("2", "1")), encoding="utf-8"
    )
    report = summarize(read_run(folder))
    assert report["bytes"]["up"]["dense_equivalent"] == (PARTITIONS * ROUNDS - 1) * 4 * 1024


def test_what_real_devices_measured_is_shown(tmp_path, report):
    assert report["measured"] == []
    folder = make_run(tmp_path / "run")
    pi = Measured("Raspberry Pi | 4", 2**29, 2**31, 61, 600, 1500, 0b101, 2)
    seen = [DeviceDescribed(0, 1, 9, None, pi), DeviceDescribed(0, 0, 9, None, Measured("odd"))]
    with folder.metrics.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(to_json(event)) + "\n" for event in seen)
    found = summarize(read_run(folder))
    assert [row["hardware"] for row in found["measured"]] == ["Raspberry Pi | 4", "odd"]
    shown = [line for line in measured(found).splitlines() if line.startswith("| ")][1:]
    assert len(shown) == 2
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in shown]
    assert cells[0] == [
        "1", r"Raspberry Pi \| 4", "512 MiB", "2048 MiB", "61 °C",
        "600 of 1500 MHz", "under-voltage, throttled", "2",
    ]  # fmt: skip
    assert cells[1] == ["0", "odd", "–", "–", "–", "–", "–", "–"]
    assert measured(report) == ""


def test_ledger_joins_prediction_and_measurement(report):
    first, second = report["ledger"]
    assert (first["measured_peak_bytes"], second["measured_peak_bytes"]) == (1250, None)
    assert first["predicted_peak_bytes"] == 1000
    assert (second["batch"], second["micro_batch"]) == (64, 8)
    assert (first["recompute"], second["recompute"]) == ([], ["conv1", "conv3"])
    assert (first["dominating_line"], first["dominating_bytes"]) == ("weights", 700)


def test_many_devices_share_rows_with_those_that_are_alike():
    board = {"device": "pi_4", "batch": 64, "recompute": [], "dominating_line": "batch"}
    board |= {"micro_batch": 64, "measured_peak_bytes": None}

    def row(k, **changes):
        numbers = {"partition": k, "budget_bytes": 2**20, "predicted_peak_bytes": 1024 * (k + 1)}
        return {**board, **numbers, "dominating_bytes": 512, **changes}

    few = [row(k, measured_peak_bytes=1024) for k in range(MOST_ROWS - 2)]
    few += [row(99, micro_batch=8), row(7, device="esp32_s3")]
    assert len(ledger_table(few).splitlines()) == 2 + MOST_ROWS
    table = ledger_table([*few, row(0, micro_batch=8)])
    _, _, esp, eight, whole, *_ = table.splitlines()
    assert esp.split("|")[1].startswith(" 1 × ")
    assert [cell.strip() for cell in eight.split("|")[2:6]] == [
        "1.00 MiB", "1.00 KiB to 100 KiB", "–", "–",
    ]  # fmt: skip
    assert [cell.strip() for cell in whole.split("|")[4:6]] == ["1.00 KiB", "+0.0 % to +4700.0 %"]


def test_seconds_are_the_sum_of_measured_steps(report):
    federation = 2 * 0.5 + ROUNDS * 2.0
    assert report["timings"]["federation"] == pytest.approx(federation)
    assert report["seconds"] == pytest.approx(2 * federation)


def test_json_holds_what_is_promised_and_reads_back(report, folder):
    assert json.loads((folder.path / "report.json").read_text(encoding="utf-8")) == report
    assert {"density", "density_all", "seconds", "seed", "config"} <= set(report)
    assert {"vectors", "mismatches", "flash_bytes", "arena_bytes"} <= set(report["firmware"])
    assert run_config.parse(report["config"]) == folder.load_config()


def test_a_step_that_did_not_run_is_null(tmp_path):
    report = write(make_run(tmp_path / "bare"))
    nothing = {"same_people": None, "unseen_people": None}
    assert report["accuracy"]["int8"] == report["dense_reference"] == nothing
    assert set(report["firmware"].values()) == {None}
    assert report["bytes"]["up"]["dense_reference_wire"] is None
    text = (tmp_path / "bare" / "report.md").read_text(encoding="utf-8")
    assert "Nothing was exported" in text
    assert not (tmp_path / "bare" / "plots" / "footprint.png").exists()
    assert "footprint" not in text
    assert "int8 C" not in "\n".join(headline(report))


def test_every_figure_is_a_picture_with_its_numbers_and_is_in_the_text(report, folder):
    text = (folder.path / "report.md").read_text(encoding="utf-8")
    pictures = sorted(folder.plots.glob("*.png"))
    assert len(pictures) == 8
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert len(picture.with_suffix(".csv").read_text(encoding="utf-8").splitlines()) > 1
        assert text.count(f"](plots/{picture.name})") == 1
    assert text.count("](plots/") == len(pictures)


def test_text_says_what_a_reader_needs(report, folder):
    text = (folder.path / "report.md").read_text(encoding="utf-8")
    assert "| later windows of the same people | 82.5 % | 75.0 % |" in text
    assert "-5.0 |" in text  # float − dense
    assert "**1** (chosen)" in text
    assert "on all 30 test samples" in text
    assert "-20.0 %" in text  # prediction 1000 against measured 1250
    assert '"ghost" batch norm' in text
    assert "Recomputed on 1: `conv1`, `conv3`." in text
    assert "1 of 2 devices ran convolutions again" in text
    assert "Scores: magnitude, after 20 epochs on 35 public samples" in text
    assert "python -m sims.launch --config" in text
    assert "Unfinished" not in text


def test_mismatches_are_not_hidden(tmp_path):
    folder = make_run(tmp_path / "run", export=EXPORT | {"mismatches": 3})
    report = write(folder)
    assert "**differs** from the integer reference on 3 of 30" in (
        folder.path / "report.md"
    ).read_text(encoding="utf-8")
    assert headline(report)[-1].endswith("30 vectors, 3 mismatches")


def test_random_scores_are_said(tmp_path):
    folder = make_run(tmp_path / "run", story=STORY | {"scores": "random"})
    write(folder)
    assert "**Scores: random.**" in (folder.path / "report.md").read_text(encoding="utf-8")


def test_unfinished_run_says_so(tmp_path):
    folder = make_run(tmp_path / "run", rounds=2)
    report = write(folder)
    assert (report["finished"], report["rounds"]) == (False, 2)
    assert "**Unfinished: 2 of 3 rounds are done.**" in (folder.path / "report.md").read_text(
        encoding="utf-8"
    )


def test_nothing_to_report_is_an_error_naming_the_folder(tmp_path):
    with pytest.raises(FedTinyError, match="no evaluated round yet"):
        write(make_run(tmp_path / "early", rounds=0))
    with pytest.raises(FedTinyError, match="nowhere"):
        write(RunFolder(tmp_path / "nowhere"))


def test_what_another_version_recorded_is_left_out_and_said(tmp_path):
    folder = make_run(tmp_path / "run")
    with folder.metrics.open("a", encoding="utf-8") as file:
        file.write('{"event": "weather", "round": 1}\n{"event": "end", "round": 4, "seconds": 1')
    report = write(folder)
    assert report["notes"] == ["events of kind 'weather' (1×): unknown to this version"]
    assert "Not in this report: events of kind 'weather'" in (
        folder.path / "report.md"
    ).read_text(encoding="utf-8")  # fmt: skip


def test_a_damaged_line_is_named(tmp_path):
    folder = make_run(tmp_path / "run")
    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].replace('"samples": 9', '"samples": "nine"')
    folder.metrics.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(MetricsError, match=r"metrics\.jsonl, line 4: device\.samples: .*integer"):
        write(folder)


def test_headline_is_short_and_complete(report):
    lines = headline(report)
    assert lines[1] == "later windows of the same people: float 82.5 %, int8 75.0 %, dense 87.5 %"
    assert lines[4] == (
        "memory: 1 of 2 devices needed micro-batches, 1 to recompute; peak predicted within 20.0 %"
    )
    assert len(lines) == 6
    assert max(map(len, lines)) < 100


def test_devices_that_can_train_nothing_are_not_counted_among_those_that_trained(report):
    config = run_config.parse(report["config"])
    everybody = config.data.partitions
    assert everybody == 2
    assert achieved(report, config).startswith(f"{everybody} simulated devices trained")
    assert not any("no part of the model" in line for line in headline(report))
    refused = [{"partition": 1, "reason": "too small"}]
    fewer = report | {"tiers": {"refused": refused}}
    said = achieved(fewer, config)
    assert said.startswith("1 simulated device trained one ")
    assert "1 more could train no part of it." in said
    line = f"1 of {everybody} devices could train no part of the model; the report says why"
    assert line in headline(fewer)


def test_more_bytes_than_the_dense_model_are_not_called_fewer(report):
    up = report["bytes"]["up"] | {"wire": 40000, "dense_equivalent": 10000, "ratio": 0.25}
    more = report | {"bytes": report["bytes"] | {"up": up}}
    assert "uplink 39.1 KiB on the wire, 4.0× above 9.77 KiB for the dense model" in headline(more)
    said = achieved(more, run_config.parse(report["config"]))
    assert "4.0 times as much as sending the dense model every round (9.77 KiB)" in said


def test_bytes_that_were_not_counted_are_compared_with_nothing(report):
    up = report["bytes"]["up"] | {"wire": 0, "dense_equivalent": 10000, "ratio": None}
    none = report | {"bytes": report["bytes"] | {"up": up}}
    assert "uplink 0 B on the wire, against 9.77 KiB for the dense model" in headline(none)
    text = render(none, {}, "runs/a")
    assert "sent 0 B in all, against the dense model every round (9.77 KiB)." in text


def sent_kinds():
    """Every kind of the real messages devices send, one instance of each."""
    graph = smartwatch_cnn((6, 1, 128), 7)
    layers = graph.prunable_layers
    model = sparse_model(graph)
    growth = {layers[0].name: (np.array([1], np.int32), np.ones(1, np.float32))}
    moments = {
        layer.name: Moments(np.ones(layer.out_channels), np.ones(layer.out_channels), 1)
        for layer in graph.batch_norms
    }
    ranges = dict.fromkeys(graph.observed, (0.0, 1.0))
    statistics = InputStatistics(1, *(np.ones(6, np.int64) for _ in range(4)))
    entry = ledger(0, 8)
    packets = [
        Description(9, 3, 4, statistics, entry).packet(),
        CandidateStatistics([moments], 1).packet(graph),
        CandidateLosses(np.ones(1), 1).packet(),
        TrainResult(model, 1, 0.5, growth, replace(entry, measured_peak_bytes=1)).packet(
            graph, DeviceHalf().pack(graph, LocalUpdate(model, 1, 0.5, growth))
        ),
        EvaluationResult(Evaluation(1.0, np.eye(7, dtype=np.int64))).packet(),
        RangesResult(ranges).packet(graph),
    ]
    return {kind for packet in packets for kind in packet.kinds()}


def test_what_left_each_device_describes_every_kind_a_device_can_send():
    kinds = sent_kinds()
    assert {"values", "growth_indices", "growth_values", "ranges", "moments"} <= kinds
    assert kinds <= set(DEPARTURES)


def test_an_unknown_kind_is_not_vouched_for(report):
    row = {"phase": "train", "kind": "windows", "bytes": 10, "bytes_per_device": 5.0}
    assert "**not known**" in departures({"departures": [row]})
    text = departures(report)
    assert "**not known**" not in text
    assert f"| {ROUNDS * 160 // PARTITIONS} B |" in "".join(text.split("  "))


def test_seeds_are_aggregated_as_numpy_does(tmp_path):
    folders = [
        make_run(tmp_path / f"seed{k}", seed=k, bonus=k, export=EXPORT) for k in range(3)
    ]  # fmt: skip
    table = aggregate(folders)
    same = np.array([33, 34, 35]) / 40
    assert len(table) == 1
    row = table.iloc[0]
    assert row["seeds"] == (0, 1, 2)
    assert row["float_same_people_mean"] == pytest.approx(same.mean())
    assert row["float_same_people_sd"] == pytest.approx(same.std(ddof=1))
    assert np.isnan(row["gap_same_people_mean"])  # no dense reference was run
    cells = [cell.strip() for cell in results_markdown([folders]).splitlines()[-1].split("|")]
    assert "85.0 ± 2.5" in cells
    assert "75.0 ± 0.0 / 50.0 ± 0.0" in cells
    assert "10.0 KiB" in cells


def test_gap_is_taken_seed_by_seed(tmp_path):
    folders = []
    for k, dense_bonus in enumerate((2, 1)):
        folders.append(make_run(tmp_path / f"seed{k}", seed=k, bonus=k))
        make_run(tmp_path / f"seed{k}" / "dense_reference", seed=k, bonus=dense_bonus)
    row = aggregate(folders).iloc[0]
    gaps = np.array([-2, 0]) / 40
    assert row["gap_same_people_mean"] == pytest.approx(gaps.mean())
    assert row["gap_same_people_sd"] == pytest.approx(gaps.std(ddof=1))


def test_different_configs_are_not_averaged(tmp_path):
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", pruning={"density": 0.1})]
    assert len(aggregate(folders)) == 2
    with pytest.raises(FedTinyError, match="more than their seed"):
        results_markdown([folders])
    with pytest.raises(FedTinyError, match="share a seed"):
        aggregate([folders[0], folders[0]])


def test_overlay_draws_all_runs(tmp_path, folder):
    paths = overlay([folder, folder.dense_reference], tmp_path)
    assert [path.name for path in paths] == ["accuracy.png", "accuracy_uplink.png", "density.png"]
    lines = (tmp_path / "accuracy.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 2 * ROUNDS
    assert sum(line.endswith(",demo") for line in lines) == ROUNDS
    assert sum(line.endswith(",dense_reference") for line in lines) == ROUNDS


def test_overlay_of_one_run_twice_is_an_error(tmp_path, folder):
    with pytest.raises(FedTinyError, match="twice"):
        overlay([folder, folder], tmp_path)


def test_plot_command_names_a_missing_run(tmp_path):
    command = [sys.executable, "-m", "sims.study.plot", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert "none" in done.stderr


def test_package_imports_without_pandas_and_matplotlib():
    code = (
        "import sys; sys.modules |= dict.fromkeys(('pandas', 'matplotlib'));"
        "import fedtiny.report; print(fedtiny.report.headline.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout == "headline\n"
