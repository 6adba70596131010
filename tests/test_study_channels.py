"""Dead channels of trained models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from builders import sparse_model
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fedtiny.models import smartwatch_cnn
from fedtiny.sparse.tensor import Mask
from sims.study import channels
from sims.study.channels import EmptyChannels, cli, empty_channels


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=8))
def test_a_channel_is_empty_where_a_dense_mask_has_a_row_of_zeros(rows: list[list[bool]]) -> None:
    dense = np.array(rows).reshape(len(rows), 2, 3)
    mask = Mask(dense.shape, np.flatnonzero(dense).astype(np.int32))
    assert empty_channels(mask) == int((~dense.any(axis=(1, 2))).sum())


def test_the_table_and_the_json_say_the_same(tmp_path: Path, monkeypatch) -> None:
    model = sparse_model(smartwatch_cnn((3, 1, 32), 4, width=8))
    counts = {name: empty_channels(mask) for name, mask in model.masks.items()}
    found = EmptyChannels("run", counts, sum(mask.shape[0] for mask in model.masks.values()))
    monkeypatch.setattr(channels, "measure", lambda _path: found)
    shown = CliRunner().invoke(cli, [str(tmp_path)])
    assert f"{found.share:.0%}" in shown.output
    (one,) = json.loads(CliRunner().invoke(cli, [str(tmp_path), "--json"]).stdout)
    assert one["empty"] == counts
    assert one["share"] == round(found.share, 4)


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, [str(tmp_path)]).exit_code != 0
