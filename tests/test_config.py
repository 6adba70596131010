"""The config tree: round trips, overrides, and errors that name the fix."""

import tomllib
from pathlib import Path

import pytest

from fedtiny.config import RunConfig, dump, load, parse
from fedtiny.settings import ConfigError

# Files called study*.toml describe sweeps; tests/test_study.py reads those.
CONFIGS = sorted(p for p in Path("sims/configs").rglob("*.toml") if not p.stem.startswith("study"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_load_and_survive_a_round_trip(path: Path) -> None:
    config = load(path)
    assert parse(tomllib.loads(dump(config))) == config


def test_overrides_take_toml_values_and_bare_words(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[federation]\nrounds = 4\n", encoding="utf-8")
    config = load(
        path,
        ["pruning.density=0.01", "pruning.selection=none", "devices.fleet=['pi_4', 'pi_5']"],
    )
    assert config.pruning.density == 0.01
    assert config.pruning.selection == "none"
    assert config.devices.board(3) == "pi_5"
    assert config.federation.rounds == 4


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"federation": {"round": 3}}, "unknown key federation.round; did you mean rounds"),
        ({"trainning": {}}, "unknown key trainning; did you mean training"),
        ({"pruning": {"density": 0}}, "pruning.density: .*greater than 0"),
        ({"pruning": {"density": 1.5}}, "less than or equal to 1"),
        ({"pruning": {"method": "magic"}}, "pruning.method: .*fedtiny"),
        ({"pruning": {"stop": 99}}, "pruning.stop = 99 lies beyond federation.rounds"),
        ({"federation": {"clients_per_round": 99}}, "exceeds data.partitions"),
        ({"data": {"source": "idx"}}, "data: .*set path"),
    ],
)
def test_what_is_wrong_is_named(tree: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(tree)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read config .*missing\.toml"):
        load(tmp_path / "missing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("[federation\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.toml is not valid TOML"):
        load(bad)
    bad.write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="write key=value"):
        load(bad, ["pruning.density"])


def test_stop_defaults_to_half_of_the_rounds() -> None:
    assert RunConfig().method.schedule.stop == RunConfig().federation.rounds // 2
