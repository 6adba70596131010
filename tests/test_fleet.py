"""A fleet's file becomes part of a config, and says of each kind of device what it can do."""

import json
from pathlib import Path

import pytest

from fedtiny import config as run_config
from fedtiny.cli import app
from fedtiny.devices.budget import memory_plan
from fedtiny.devices.flash import layer_nnz
from fedtiny.devices.fleet import profile_of
from fedtiny.devices.flops import round_flops
from fedtiny.doctor.fleet import Question, examine_fleet
from fedtiny.errors import FedTinyError
from fedtiny.fleet.file import read_fleet
from fedtiny.fleet.group import Group, seats
from fedtiny.memory.step import StepPlan
from fedtiny.models import build
from fedtiny.models.cost import layer_costs, training_flops

THREE = Path(__file__).parents[1] / "sims" / "fleets" / "three_tiers.toml"
LINK = "{ down_kbps = 800, up_kbps = 80 }"
PI = f'[[groups]]\nname = "pi"\ndevice = "pi_5"\nlink = {LINK}\n'


def write(folder, text, name="fleet.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def config_of(folder, *overrides, fleet="fleet.toml", partitions=2):
    text = f'[data]\npartitions = {partitions}\n[devices]\nfleet = "{fleet}"\n'
    return run_config.load(write(folder, text, "run.toml"), overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "groups: Field required|groups: Tuple should have at least 1"),
        ("groups = 3", r"groups: begin each group with \[\[groups\]\]"),
        (PI, r"groups\.0: give count, or partitions"),
        (PI + "count = 1\npartitions = [0]", r"groups\.0: give count, or partitions"),
        (PI + "partitions = [0, 0]", "partitions: one is named twice"),
        (PI + "partitions = [1]", "group 'pi' names partition 1, but the fleet has 1 devices"),
        (PI + "count = 1\n" + PI + "count = 1", "two groups are called 'pi'"),
        (PI + "count = 1\ncolour = 'red'", r"groups\.0\.colour: Extra inputs"),
        (PI + "count = 1\nsustained_flops = 1e6", "sustained_flops needs sustained_source"),
        (PI.replace(LINK, '"lte"') + "count = 1", r"groups\.0\.link: there is no \[links\.lte\]"),
        (PI.replace(LINK, '{trace = "no.csv"}') + "count = 1", "cannot read trace .*no.csv"),
        (PI.replace(LINK, '{trace = "bad.csv"}') + "count = 1", "bad.csv, line 3: client 0's clo"),
        (PI.replace("800", "-1") + "count = 1", r"link\.down_kbps: Input should be greater than 0"),
        (PI.replace("800", "nan") + "count = 1", r"link\.down_kbps: Input should be a finite"),
        (PI + "count = 1\navailability = {on_s = 3}", "give both on_s and off_s"),
        (PI + "count = 1\navailability = {dropout = 2}", "less than or equal to 1"),
        ("[links]\nx = 3\n" + PI + "count = 1", r"links\.x"),
        ("links = 3\n" + PI + "count = 1", r"expected tables \[links\.NAME\]"),
    ],
)
def test_a_fleet_is_refused_with_file_key_and_remedy(tmp_path, text, message):
    write(tmp_path, "client,second,kbps\n0,0,8\n0,0,8", "bad.csv")
    with pytest.raises(FedTinyError, match=f"fleet.toml: (?:{message})|{message}"):
        read_fleet(write(tmp_path, text))


def test_counts_take_the_partitions_that_no_group_names():
    groups = (
        Group(name="a", device="pi_4", count=2),
        Group(name="b", device="pi_5", partitions=(3, 0)),
        Group(name="c", device="pi_4", count=1),
    )
    dealt = [(seat.group.name, seat.member) for seat in seats(groups)]
    assert dealt == [("b", 1), ("a", 0), ("a", 1), ("b", 0), ("c", 0)]


def test_a_loaded_config_needs_no_other_file(tmp_path):
    write(tmp_path, "client,second,kbps\n0,0,8\n0,5,16", "lte.csv")
    fleet = PI.replace(LINK, '{trace = "lte.csv"}')
    write(tmp_path, fleet + 'count = 1\n[[groups]]\nname = "b"\ndevice = "pi_4"\ncount = 1\n')
    config = config_of(tmp_path)
    for name in ("fleet.toml", "lte.csv"):
        (tmp_path / name).unlink()
    kept = write(tmp_path, run_config.dump(config), "config.toml")
    again = run_config.load(kept)
    assert again == config
    assert run_config.digest(again) == run_config.digest(config)
    assert [config.devices.board(k) for k in range(2)] == ["pi_5", "pi_4"]
    assert seats(again.devices.groups)[0].link(0).down.values == (8000.0, 16000.0)


def test_what_a_trace_says_is_part_of_the_digest(tmp_path):
    digests = set()
    for rate in (8, 9):
        write(tmp_path, f"client,second,kbps\n0,0,{rate}", "lte.csv")
        write(tmp_path, PI.replace(LINK, '{trace = "lte.csv"}') + "count = 2")
        digests.add(run_config.digest(config_of(tmp_path)))
    assert len(digests) == 2


def test_overrides_name_a_fleet_from_where_they_are_typed_or_boards_or_none(tmp_path, monkeypatch):
    write(tmp_path, PI + "count = 2")
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", PI.replace("pi_5", "pi_4") + "count = 2")
    monkeypatch.chdir(tmp_path / "other")
    assert config_of(tmp_path).devices.board(0) == "pi_5"
    assert config_of(tmp_path, "devices.fleet=fleet.toml").devices.board(0) == "pi_4"
    boards = config_of(tmp_path, "devices.fleet=['pi_zero_2_w']").devices
    assert (boards.board(1), boards.groups) == ("pi_zero_2_w", ())
    assert config_of(tmp_path, "devices.fleet=[]").devices.board(0) == ""


@pytest.mark.parametrize(
    ("fleet", "partitions", "message"),
    [
        ("fleet.toml", 3, "devices.fleet has 2 devices, but data.partitions = 3"),
        ("none.toml", 2, "run.toml: devices.fleet: cannot read fleet .*none.toml"),
    ],
)
def test_a_config_with_a_fleet_that_does_not_fit_is_refused(tmp_path, fleet, partitions, message):
    write(tmp_path, PI + "count = 2")
    with pytest.raises(FedTinyError, match=message):
        config_of(tmp_path, fleet=fleet, partitions=partitions)


def test_a_group_replaces_numbers_of_its_own_board_only(tmp_path):
    more = 'budget_bytes = 450_000\nsustained_flops = 3e7\nsustained_source = "assumed: a guess"\n'
    write(tmp_path, PI.replace("pi_5", "rp2350") + "count = 2\nflash_bytes = 9\n" + more)
    config = config_of(tmp_path, "devices.budget_bytes={1 = 500_000}", "model.name=smartwatch_cnn")
    board = profile_of(config, 0, "rp2350")
    assert (board.training_budget_bytes, board.flash_bytes, board.trains) == (450_000, 9, True)
    assert (board.sustained_flops, board.sources["sustained"]) == (3e7, "assumed: a guess")
    assert profile_of(config, 0, "pi_5").sustained_flops == 4.8e9  # a real device says what it is
    graph = config.graph((1, 1, 32), 4)
    assert [memory_plan(config, graph, k, "rp2350").budget_bytes for k in range(2)] == [
        450_000,
        500_000,
    ]


def test_what_the_example_fleet_holds():
    kinds = examine_fleet(THREE, Question("resnet8", (1, 28, 28), 10, 64, 0.05, 500, 2))
    pi, psram, pico = kinds
    assert [kind.count for kind in kinds] == [6, 7, 7]
    assert (pi.ledger.step.micro_batch, psram.ledger.step.micro_batch) == (64, 4)
    assert pico.ledger is None
    assert "micro-batch 1" in pico.refused
    assert psram.ledger.predicted_peak_bytes <= psram.budget_bytes == 2 * 2**20
    graph = build("resnet8", (1, 28, 28), 10)
    flops = training_flops(graph, layer_nnz(graph, 0.05))
    assert psram.seconds.compute == pytest.approx(1000 * flops / 30e6)
    assert pi.slowest_s > pi.seconds.total  # homes differ
    assert all("assumed" in kind.sustained for kind in kinds)


def test_the_command_speaks_json_and_says_when_nobody_can(tmp_path, capsys):
    write(tmp_path, PI.replace("pi_5", "rp2350").replace(f"link = {LINK}\n", "") + "count = 3")
    with pytest.raises(SystemExit) as ended:
        app(["fleet", "show", str(tmp_path / "fleet.toml"), "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert row.keys() >= {"device", "count", "width", "density", "micro_batch", "peak_bytes"}
    assert (row["count"], row["seconds_per_round"], row["micro_batch"]) == (3, None, None)
    assert "is a run target and does not train" in row["refused"]
    assert row.keys() >= {"budget_bytes", "seconds_per_round", "refused"}
    assert (row["modes"][0]["fits"], row["modes"][0]["why"]) == (False, row["refused"])


def test_a_board_that_is_none_is_named_with_its_group(tmp_path, capsys):
    path = write(tmp_path, (PI + "count = 1").replace('"pi_5"', '"pi_9"'))
    with pytest.raises(SystemExit):
        app(["fleet", "show", str(path)])
    said = capsys.readouterr().err
    assert said.startswith("error: group 'pi': unknown board 'pi_9'; known: nrf52840")


def test_a_group_that_a_part_fits_may_train(tmp_path, capsys):
    small = PI.replace("pi_5", "rp2350") + "count = 1\nbudget_bytes = 400_000\n"
    rate = 'sustained_flops = 37.5e6\nsustained_source = "assumed: in this test"\n'
    write(tmp_path, small + rate)
    with pytest.raises(SystemExit):
        app(["fleet", "show", str(tmp_path / "fleet.toml"), "--tiers", "nested", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["width"] < 1
    assert row["modes"][0]["mode"] == "train"
    assert row["modes"][0]["fits"]
    assert row["modes"][0]["how"].startswith(f"width {row['width']:g}, micro-batch")


def test_the_command_says_which_parts_are_too_slow(tmp_path, capsys):
    write(tmp_path, PI.replace("pi_5", "esp32_s3") + "count = 2")
    asked = ["fleet", "show", str(tmp_path / "fleet.toml"), "--tiers", "nested"]
    with pytest.raises(SystemExit):
        app([*asked, "--deadline", "20", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["passed_over"]
    assert row["seconds_per_round"] <= 20
    for passed in row["passed_over"]:
        assert (passed["width"], passed["density"]) > (row["width"], row["density"])
        assert "of clock.deadline_s = 20" in passed["reason"]
    with pytest.raises(SystemExit):
        app([*asked, "--deadline", "20"])
    first = row["passed_over"][0]
    words = f"pi does not train width {first['width']:g}, density {first['density']:.3g}: "
    assert words in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace(f"link = {LINK}\n", ""), "group 'pi' has no link"),
        (
            lambda text: text + "\nflash_bytes = 100",
            "of flash beside 32.0 KiB for code, it has 100 B",
        ),
        (
            lambda text: text.replace("pi_5", "rp2350") + "\nbudget_bytes = 20_000_000",
            "rp2350: its catalogue states no sustained_mflops",
        ),
    ],
)
def test_a_group_is_refused_for_what_it_lacks(tmp_path, change, reason):
    write(tmp_path, change(PI + "count = 1"))
    question = Question("smartwatch_cnn", (6, 1, 128), 7, 32, 0.05, 100, 1)
    (kind,) = examine_fleet(tmp_path / "fleet.toml", question)
    assert reason in kind.refused
    assert kind.seconds is None or "flash" in reason


def test_recomputed_layers_run_forward_twice_and_zeros_are_multiplied_where_they_are_held():
    config = run_config.parse({"pruning": {"density": 0.05}, "training": {"epochs": 3}})
    question = Question("smartwatch_cnn", (6, 1, 128), 7, 32, 0.05, 100, 1)
    graph = config.graph(question.input_shape, 7)
    nnz = layer_nnz(graph, 0.05)
    (first, *_) = [cost for cost in layer_costs(graph) if cost.name in nnz]
    plain = round_flops(config, graph, nnz, 10, StepPlan(8), {})
    again = round_flops(config, graph, nnz, 10, StepPlan(8, (first.name,)), {})
    assert plain == 30 * training_flops(graph, nnz)
    assert again - plain == 30 * 2 * first.macs // first.weights * nnz[first.name]
    quotas = {first.name: 4}
    more = round_flops(config, graph, nnz, 10, StepPlan(8), quotas) - plain
    absent = 2 * first.macs // first.weights * (first.weights - nnz[first.name])
    assert more == 10 * (training_flops(graph, nnz) + absent)  # of a batch: 10 of at most 64
    masked = run_config.parse({"training": {"epochs": 3, "engine": "torch"}})
    assert round_flops(masked, graph, nnz, 10, StepPlan(8), {}) == 30 * training_flops(graph)
