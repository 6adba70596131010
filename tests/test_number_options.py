"""Numbers out of range end in one sentence with the range, on every command line and in --set."""

import math
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from fedtiny import cli as fedtiny_cli
from fedtiny.config import RunConfig, load
from fedtiny.option_types import FractionType, ShapeType
from fedtiny.settings import ConfigError
from sims import launch
from sims.bench import client, grids
from sims.study import results, sweep

fedtiny_table = pytest.importorskip("fedtiny.bench.table")

DEMO = Path("sims/configs/demo.toml")
PROGRAMS = {
    "fedtiny": fedtiny_cli.app,
    "launch": launch.cli,
    "sweep": sweep.cli,
    "results": results.cli,
    "client": client.cli,
    "grids": grids.cli,
    "bench table": fedtiny_table.cli,
}
WRONG = ("-1", "nan", "inf", "-inf", str(2**63), "1e309", "", "x", "0x10")
runner = CliRunner()


def commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every leaf with what one types to get there."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from commands(one, (*path, name))
    else:
        yield path, command


def numeric() -> Iterator[tuple[str, tuple[str, ...], click.Option]]:
    """(program, command, option) of everything that takes a number."""
    kinds = (click.types.IntParamType, click.types.FloatParamType, FractionType, ShapeType)
    for program, app in PROGRAMS.items():
        for path, command in commands(typer.main.get_command(app), ()):
            for option in command.params:
                if isinstance(option, click.Option) and isinstance(option.type, kinds):
                    yield program, path, option


CASES = list(numeric())


def test_there_are_numbers_on_every_command_line() -> None:
    assert {program for program, _, _ in CASES} == PROGRAMS.keys()
    assert len(CASES) >= 18


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]} {' '.join(c[1])} {c[2].opts[0]}")
def test_numbers_out_of_range_are_refused_before_any_work(
    case: tuple[str, tuple[str, ...], click.Option], tmp_path: Path
) -> None:
    program, path, option = case
    required = {
        "verify": [str(tmp_path)],
        "show": [str(tmp_path)],
        "sweep": ["x"],
        "adapt": [str(tmp_path), "--data", "x"],
    }.get((path or (program,))[-1], [])
    zero = () if getattr(option.type, "min", 1) == 0 else ("0",)
    for value in (*WRONG, *zero):
        result = runner.invoke(PROGRAMS[program], [*path, option.opts[0], value, *required])
        assert result.exit_code == 2, (value, result.output)
        text = result.stderr
        assert len(text.splitlines()) == 1, text
        assert f"Invalid value for '{option.opts[0]}'" in text
        assert value in text
    assert "range" in text


@pytest.mark.parametrize("count", ["-1", "0", "1.5", "NaN", "Infinity", "true", '"4"', str(2**63)])
def test_ray_actors_are_a_whole_number(count: str, tmp_path: Path) -> None:
    text = f'{{"init_args": {{"num_cpus": {count}}}}}'
    result = runner.invoke(
        launch.cli, ["--config", str(DEMO), "--backend-config", text, "--out", str(tmp_path)]
    )
    assert result.exit_code == 2
    assert "num_cpus" in result.stderr
    assert "range 1..1,024" in result.stderr


def leaves(section: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Key and annotation of every setting."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, name))
        else:
            yield ".".join((*path, name)), str(field.annotation)


NUMBERS = [key for key, kind in leaves(RunConfig()) if "int" in kind or "float" in kind]


@pytest.mark.parametrize("key", NUMBERS)
def test_settings_out_of_range_are_refused_and_the_set_is_named(key: str) -> None:
    for value in ("nan", "inf", "-inf", str(2**63), "1e308", '"x"', '""', "-1.5"):
        with pytest.raises(ConfigError) as caught:
            load(DEMO, [f"{key}={value}"])
        assert str(caught.value).startswith("--set "), str(caught.value)
        assert key in str(caught.value)
        assert str(DEMO) not in str(caught.value)


def test_whose_fault_a_setting_is(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[federation]\nrounds = 0\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(wrong, ["training.epochs=0"])
    of_file, of_set = str(caught.value).split("; ")
    assert of_file.startswith(f"{wrong}: federation.rounds")
    assert of_set.startswith("--set training.epochs=0: training.epochs")
    # What only fits together with other keys is said of what was changed, too.
    with pytest.raises(ConfigError, match=r"^--set pruning.stop=99: pruning.stop = 99 lies beyond"):
        load(DEMO, ["pruning.stop=99"])
    with pytest.raises(ConfigError, match=r"^--set pruning.densty=0.1: unknown key"):
        load(DEMO, ["pruning.densty=0.1"])
    with pytest.raises(ConfigError, match=r"^--set 'pruning=\{density = 9\}': pruning.density"):
        load(DEMO, ["pruning={density = 9}"])


def test_a_fraction_is_a_number_in_its_range() -> None:
    for value in ("0", "-0.1", "1.0000001", "nan", "inf", "1e309", "", "half"):
        with pytest.raises(click.BadParameter):
            FractionType().convert(value, None, None)
    assert [FractionType().convert(v, None, None) for v in ("1", "5e-324", "0.05")] == [
        1.0,
        math.ulp(0.0),
        0.05,
    ]
