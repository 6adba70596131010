"""Every key of a config with values that nobody should give: refused at once, or harmless."""

from __future__ import annotations

import importlib
import math
import shutil
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from fedtiny.config import RunConfig, dump, parse
from fedtiny.errors import FedTinyError
from sims.forecast import forecast
from sims.launch import cli
from sims.pipeline import preflight

NUMBERS = [
    -1, 0, 1, 2, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400,
    -0.0, 5e-324, 1e-9, 0.5, 1.0, 1e308, math.nan, math.inf, -math.inf, True,
]  # fmt: skip
TEXTS = [
    "", " ", "a", "0", "-1", "nan", "../x", "/", "a/b", "a\nb", "a\0b", "$a_$", "%s", "*/", "{x}",
    "ä" * 90, "x" * 5000, "\ud800", "\N{RIGHT-TO-LEFT OVERRIDE}x", "natural@0", "smartwatch_cnn@0",
    "smartwatch_cnn@99999999999", "smartwatch_cnn@-1", "sys", "os.path", ".", "..", "a.b..c",
]  # fmt: skip
LISTS: list[Any] = [
    [], [""], ["a"], ["a", "a"], ["a", "b", "c"], ["$$", "b"], ["\n", "b"], [0], [1, 0],
    [-1, 2**62], [2**63, 0], [None], [[]], [math.nan, 1], ["x" * 5000, "b"], ["a"] * 2000,
    list(range(2000)), [10**400], [True, False], ["pi_4"], ["no such board"],
]  # fmt: skip
TREES: list[Any] = [
    {}, {"a": 1}, {"0": 1}, {"0": -1}, {"0": 2**62}, {"-1": 5}, {"99": 10**6}, {"0": math.nan},
    {"0": "1 MB"}, {"": {}}, {str(2**70): 1}, None,
]  # fmt: skip
VALUES = [*NUMBERS, *TEXTS, *LISTS, *TREES]

SLOW_S = 20.0
"""No single value may keep a check busy as long."""


def keys(section: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every setting's path; sections come last, for values that are none."""
    for name, field in section.model_fields.items():
        kind = field.default_factory
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, (*path, name))
        yield *path, name


KEYS = [".".join(path) for path in keys(RunConfig)]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred samples of two classes and five people, quickly told apart."""
    path = tmp_path_factory.mktemp("samples") / "x.npz"
    generator, y = np.random.default_rng(0), np.arange(100) % 2
    x = generator.integers(0, 100, (100, 1, 1, 16)) + 40 * y[:, None, None, None]
    np.savez(path, x=x.astype(np.int16), y=y, owner=np.arange(100) // 2 % 5)
    return path


def tree(samples: Path) -> dict[str, Any]:
    """A tiny run of them."""
    return {
        "data": {"source": "npz", "path": str(samples), "partitions": 3},
        "model": {"name": "smartwatch_cnn@1"},
        "federation": {"rounds": 1},
        "training": {"epochs": 1, "engine": "sparse"},
        "pretraining": {"epochs": 1},
        "pruning": {"candidates": 1, "density": 0.5},
        "devices": {"fleet": ["pi_4"]},
    }


@pytest.mark.parametrize("key", KEYS)
def test_no_value_of_any_key_is_a_foreign_error(key: str, samples: Path, tmp_path: Path) -> None:
    """What is accepted can be saved, read again, planned and forecast; else the error is ours."""
    *sections, leaf = key.split(".")
    for value in VALUES:
        config = tree(samples)
        home = config
        for section in sections:
            home = home.setdefault(section, {})
        home[leaf] = value
        began = time.process_time()
        try:
            found = parse(config)
            assert parse(tomllib.loads(dump(found))) == found, (key, value)
            preflight(found, tmp_path)
            forecast(found, long_s=math.inf)
        except FedTinyError:
            pass
        except Exception as error:
            raise AssertionError(f"{key} = {value!r:.60}: {type(error).__name__}") from error
        assert time.process_time() - began < SLOW_S, f"{key} = {value!r:.60}"


@pytest.mark.deploy
def test_odd_names_go_all_the_way(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preflight, training, export, the check of its C, and the report: nothing stumbles."""
    style = importlib.import_module("fedtiny.report.plots.style")
    monkeypatch.setattr(style, "DPI", 20)
    odd = tree(samples)
    odd |= {"name": "-$a_$ %s [red] \"'; `x` * {x} \N{RIGHT-TO-LEFT OVERRIDE}שלום 网络"}
    odd["data"] |= {"label_names": ['$$ \\ */ " ]]> [/] | <b>', "_%d ${x} $(x) `x`"]}
    odd["data"]["path"] = str(shutil.copy(samples, tmp_path / "$x [v2] ü%.npz"))
    (tmp_path / "run.toml").write_text(dump(parse(odd)), encoding="utf-8")
    out = tmp_path / "o [1] ${x} ü"
    places = ["--config", str(tmp_path / "run.toml"), "--out", str(out)]
    done = CliRunner().invoke(cli, ["--backend", "inline", "--json", *places])
    assert done.exit_code == 0, done.output
    (run,) = out.iterdir()
    assert odd["name"] == run.name
    for name in ("report.md", "model.safetensors", "firmware/model.c"):
        assert (run / name).is_file(), name
    assert len(list((run / "plots").glob("*.png"))) >= 6
