"""Peers of the engine: the same work for all, who is missing is named, the table is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from fedtiny.bench import peer_cases, peers, torch_contenders
from fedtiny.bench.contenders import contenders
from fedtiny.bench.no_peer import NoPeerError
from fedtiny.bench.peer_cases import OURS, PEERS, Case, Work, contender, mlp
from fedtiny.bench.peer_layers import _dense_layer, _state
from fedtiny.bench.peer_memory import peak_resident_bytes
from fedtiny.bench.peers import PeerRow, Skipped, bench_peers
from fedtiny.bench.swapped import SwappedModule
from fedtiny.bench.torch_contenders import has_bfloat16, trained
from fedtiny.bench.workload import workload, workload_of
from fedtiny.cli import app
from fedtiny.engine import available, unavailable_reason
from fedtiny.errors import FedTinyError
from sims.bench import peers as table

needs_engine = pytest.mark.skipif(not available(), reason=str(unavailable_reason()))
SMALL = Case("tiny", lambda: mlp("tiny", (48, 32, 16), 4), 12, (0.2,))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small work, without the peers that take long or are not installed everywhere."""
    monkeypatch.setattr(peers, "CASES", {Work.MLP: SMALL})
    some = {name: PEERS[name] for name in ("dense", "masked", "sparselab")}
    monkeypatch.setattr(peers, "PEERS", some)
    monkeypatch.setattr(peer_cases, "find_spec", lambda name: None if name == "sparselab" else 1)
    monkeypatch.setattr(peers, "peak_resident_bytes", lambda *_: 1_000)


@pytest.mark.parametrize("model", ["resnet8", "mlp"])
def test_layers_of_others_take_the_place_of_ours(model: str) -> None:
    """PyTorch's own modules stand for another library's: every step's loss is the dense one's."""
    work = workload_of(SMALL.graph(), 0.3, 6) if model == "mlp" else workload(model, 0.3, 6)
    layers = {one.name: _dense_layer(one, _state(work)) for one in work.graph.prunable_layers}
    assert all(isinstance(one, nn.Conv2d | nn.Linear) for one in layers.values())
    theirs = trained(
        work, lambda: SwappedModule(work.graph, work.sparse.to_dense(), layers), work.flops()
    ).make()
    ours = contenders(work)["dense"].make()
    for turn in range(3):
        chosen = work.chosen(turn)
        x, y = work.x[chosen], work.y[chosen]
        assert theirs.step(x, y) == pytest.approx(ours.step(x, y), rel=1e-5)


@needs_engine
def test_a_row_a_peer_and_who_is_missing(small: None) -> None:
    told: list[str] = []
    found = list(bench_peers([Work.MLP], 2, told.append))
    rows = [row for row in found if isinstance(row, PeerRow)]
    assert {row.peer for row in rows} == {"dense", "masked"}
    assert len(told) == len({row.threads for row in rows}) == len(rows) / 2
    for row in rows:
        assert row.ms_ours > 0
        assert row.speedup == pytest.approx(row.ms_peer / row.ms_ours, rel=0.1, abs=0.02)
    [missing] = [row for row in found if isinstance(row, Skipped)]
    assert (missing.peer, missing.work) == ("sparselab", "mlp")
    assert "pip install 'fedtiny[peers]'" in missing.reason


@needs_engine
def test_who_does_other_work_is_not_timed(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(make=lambda: SimpleNamespace(step=lambda x, y: 99.0))
    find = peers.contender
    monkeypatch.setattr(peers, "contender", lambda n, w: other if n == "masked" else find(n, w))
    with pytest.raises(FedTinyError, match=r"masked begins with a loss of 99\.0.*other work"):
        list(bench_peers([Work.MLP], 1))


def test_a_peer_says_what_it_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = workload("resnet8", 0.3, 2)
    monkeypatch.setattr(torch_contenders, "has_bfloat16", lambda: False)
    with pytest.raises(NoPeerError, match="no arithmetic in bfloat16"):
        contender("bfloat16", work)
    monkeypatch.setattr(peer_cases, "import_module", _refuse)
    with pytest.raises(NoPeerError, match="torch does not run here: libgomp"):
        contender("dense", work)
    cpuinfo = tmp_path / "cpuinfo"
    assert not has_bfloat16(cpuinfo)
    cpuinfo.write_text("flags : fma avx512_bf16\n", encoding="utf-8")
    assert has_bfloat16(cpuinfo)


def _refuse(_: str) -> NoReturn:
    raise ImportError("libgomp.so.1: cannot open")


@needs_engine
def test_memory_is_what_a_process_of_its_own_grows_by() -> None:
    """The MLP at 1 %: its batch alone is 1.2 MB, all of its weights would be 17 MB, each thrice."""
    assert 1_200_000 < peak_resident_bytes(Work.MLP, 0.01, 1, OURS) < 12_000_000
    with pytest.raises(FedTinyError, match="nobody"):
        peak_resident_bytes(Work.MLP, 0.01, 1, "nobody")


@needs_engine
def test_the_command_and_the_table(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(app, ["bench", "peers", "--work", "mlp", "--repeats", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert {row["peer"] for row in json.loads(done.stdout)} == {"dense", "masked", "sparselab"}
    page = tmp_path / "peers.md"
    page.write_text(f"above\n{table.BEGIN}\n{table.END}\nbelow\n", encoding="utf-8")
    row = PeerRow("mlp", "dense", 0.01, 1, 2.0, 9.0, 4.5, 1_000_000, 2_000_000)
    missing = Skipped("mlp", "sparselab", "not installed")
    monkeypatch.setattr(table, "bench_peers", lambda *_: iter([row, missing]))
    table.peers(repeats=1, page=page)
    text = page.read_text(encoding="utf-8")
    assert "| PyTorch dense | 9.00 ms | 2.00 ms | **4.50×** |" in text
    assert "SparseLab, linear 3072-1024-1024-10: not installed." in text
    with page.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        [line] = csv.DictReader(file)
    assert np.isclose(float(line["speedup"]), 4.5)
    assert list(line)[-1] == "commit"
    assert page.with_suffix(".png").stat().st_size > 0
