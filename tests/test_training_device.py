"""Where PyTorch trains: settings, errors, and that no tensor is left behind on the CPU.

Machines that test this have no GPU. PyTorch's ``meta`` device stands in for one: it holds no
values, but like CUDA it refuses operations that mix it with the CPU.
"""

import numpy as np
import pytest
import torch
from array_samples import ArraySamples

from fedtiny.bench.workload import workload
from fedtiny.errors import FedTinyError
from fedtiny.training.choice import engine_for
from fedtiny.training.config import TrainingConfig
from fedtiny.training.masked.engine import MaskedDense
from fedtiny.training.masked.trainer import TorchTrainer
from fedtiny.training.sparse.engine import Sparse
from fedtiny.training.trainer import SgdConfig

WORK = workload("resnet8", 0.1, batch=6, micro_batch=3)
X, Y = WORK.x[:6], WORK.y[:6]


def engine(**training):
    return engine_for(TrainingConfig(**training), density=0.05)


def test_auto_is_the_cpu_without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert engine(engine="torch", device="auto").device == "cpu"
    assert isinstance(engine(device="auto"), Sparse)


def test_cuda_without_cuda_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for choice in ("auto", "torch"):
        with pytest.raises(FedTinyError, match=r"sees no CUDA device: set it to 'auto' or 'cpu'"):
            engine(engine=choice, device="cuda")


def test_cuda_where_it_is_seen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for training in (
        {"device": "auto"},
        {"device": "cuda"},
        {"engine": "torch", "device": "auto"},
    ):
        found = engine(**training)
        assert isinstance(found, MaskedDense)
        assert (found.device, found.title) == ("cuda", "masked dense (PyTorch, cuda)")
    assert isinstance(engine(), Sparse)
    assert isinstance(engine(engine="sparse", device="auto"), Sparse)
    assert engine(engine="torch").device == "cpu"


def test_the_sparse_engine_has_no_cuda():
    with pytest.raises(ValueError, match="'sparse' computes on the CPU"):
        engine(engine="sparse", device="cuda")


def test_nothing_stays_on_the_cpu(monkeypatch):
    to_cpu = torch.Tensor.cpu

    def cpu(tensor):
        return torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else to_cpu(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    monkeypatch.setattr(torch.Tensor, "item", lambda _: 0.0)
    masks = WORK.sparse.masks
    trainer = TorchTrainer(WORK.graph, WORK.sparse, SgdConfig(0.1, proximal_mu=1.0), 3, "meta")
    trainer.step(X, Y)
    trainer.step(X, Y)
    trainer.evaluate(ArraySamples(X, Y))
    trainer.batch_norm_moments(ArraySamples(X, Y))
    trainer.ranges(ArraySamples(X, Y))
    trainer.growth(X, Y, dict.fromkeys(masks, 2))
    trainer.gradients(X, Y)
    assert trainer.model().masks.keys() == masks.keys()
    # The stand-in does complain: a batch left on the CPU meets parameters that are not.
    monkeypatch.setattr(trainer, "_tensor", torch.from_numpy)
    with pytest.raises((RuntimeError, NotImplementedError), match="device"):
        trainer.step(X, Y)


def test_the_cpu_asked_for_is_the_cpu_by_default():
    models = []
    for arguments in ((), ("cpu",)):
        trainer = TorchTrainer(WORK.graph, WORK.sparse, WORK.sgd, 3, *arguments)
        trainer.step(X, Y)
        models.append(trainer.model().to_dense())
    for name, value in models[0].items():
        np.testing.assert_array_equal(value, models[1][name])
