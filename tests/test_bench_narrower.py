"""Measuring as on a processor with narrower vectors."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fedtiny.bench.narrower import limit
from fedtiny.engine import available
from fedtiny.engine.library import EngineError, load
from fedtiny.errors import FedTinyError

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")


def test_unknown_sets_are_refused_by_those_there_are():
    with pytest.raises(EngineError, match="no instruction set 'mmx' here; choose from"):
        limit("mmx")


def test_the_widest_is_no_limit():
    sets = load().instruction_sets
    limit(sets[0])
    assert load().instruction_sets == sets


def test_pytorch_cannot_be_kept_to_every_set():
    if load().instruction_sets == ("baseline",):
        pytest.skip("nothing is wider than the baseline here")
    with pytest.raises(FedTinyError, match="PyTorch is not kept to 'baseline'; choose from"):
        limit("baseline")


def test_nobody_uses_wider_vectors():
    if "avx2" not in load().instruction_sets[1:]:
        pytest.skip("nothing is wider than AVX2 here")
    pytest.importorskip("torch")
    with pytest.raises(FedTinyError, match="start a new process"):
        limit("avx2")
    command = [sys.executable, "-m", "fedtiny", "bench", "train", "--model", "smartwatch_cnn"]
    command += ["--batch", "8", "--repeats", "1", "--instruction-set", "avx2", "--json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert json.loads(done.stdout)["instruction_set"] == "avx2"
