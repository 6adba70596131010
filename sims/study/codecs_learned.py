"""Codes by encoders that were trained: PNC, the VAE codec, and one trained on devices."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.native import NativeCode
from fedtiny.codecs.salient_order import SalientOrder
from fedtiny.codecs.server.federated import Rounds, dealt, train_encoder
from fedtiny.codecs.server.fitting import Pictures, right
from fedtiny.codecs.server.pnc import Drop, JointLoss, Recipe, train_pnc
from fedtiny.codecs.server.vae import VaeRecipe, train_vae
from sims.study.codecs_rows import setting_of
from sims.study.codecs_shared import (
    AGAIN,
    BUDGETS,
    EPOCHS,
    PUBLIC,
    TRAINING,
    Found,
    Measure,
    Sizes,
    clean,
    code_means,
    pictures,
    sendings,
)

RATES = tuple(VaeRecipe(maps, 2, epochs=EPOCHS + AGAIN) for maps in (4, 6, 8))
_PNC = Recipe(joint=JointLoss.BOTH, alone_weight=0.3, joint_epochs=AGAIN)
PNC = {"tail-drop": _PNC, "no tail-drop": replace(_PNC, drop=Drop.NOTHING)}
SALIENT, BY_CONTENT = "order by content", replace(_PNC, drop=Drop.SALIENT)
FEW_EPOCHS = 16
"""Of a codec by the server's few pictures alone."""
DEVICES, ALPHA = 10, 0.3
"""That train an encoder together, and how unlike their classes are (Dirichlet)."""


def codes_of(half: DeviceHalf, x: np.ndarray) -> list[bytes]:
    """Each picture's whole code, by the C."""
    latents = half.latents(x)
    with tempfile.TemporaryDirectory() as directory:
        native = NativeCode(half.code, Path(directory))
        return [native.encode(latent, 4096) for latent in latents]


def pnc(name: str) -> Measure:
    """PNC at every budget; symbols that arrive count."""

    def measure(seed: int) -> Iterator[Found]:
        training, test = pictures()
        codec = train_pnc(training, clean(seed), PNC[name], seed)
        codes, sizes = codes_of(codec.half, test.data.x), Sizes.of(codec.half)
        known = cache(lambda prefix: len(codec.half.code.determined(prefix)))
        for setting, sent in sendings(name, codes):
            arrived = np.array([known(code) for code in sent])
            accuracy = float(codec.right(test, arrived).mean())
            yield setting, *code_means(sent), accuracy, sizes

    return measure


def salient() -> Measure:
    """The same net in an order by content, at budgets; symbols that arrive count."""

    def measure(seed: int) -> Iterator[Found]:
        training, test = pictures()
        codec = train_pnc(training, clean(seed), BY_CONTENT, seed)
        order, sizes = SalientOrder(codec.half.code), Sizes.of(codec.half)
        codes = [order.encode(one) for one in codec.half.symbols(test.data.x)]
        for budget in (*BUDGETS, None):
            sent = [code[:budget] for code in codes]
            values = torch.from_numpy(np.stack([order.values(code) for code in sent]))
            accuracy = float(right(codec.server, values, test.y).mean())
            yield setting_of(SALIENT, budget), *code_means(sent), accuracy, sizes

    return measure


def vae(recipe: VaeRecipe) -> Measure:
    """One codec of a fixed rate."""

    def measure(seed: int) -> Iterator[Found]:
        training, test = pictures()
        codec = train_vae(training, recipe, seed, clean(seed)).codec(training)
        symbols, codes = codec.half.symbols(test.data.x), codes_of(codec.half, test.data.x)
        table = float(np.mean([codec.half.code.bits(one) for one in symbols])) / 8
        context = float(codec.context_bits(symbols).mean()) / 8
        payload, file = code_means(codes)
        accuracy, name = float(codec.right(test).mean()), rate_name(recipe)
        yield name, payload, file, accuracy, Sizes.of(codec.half)
        yield f"{name}: bits by static tables", table, table, accuracy, Sizes()
        yield f"{name}: bits by context model", context, context, accuracy, Sizes()

    return measure


def rate_name(recipe: VaeRecipe) -> str:
    """Of a setting."""
    return f"{recipe.channels} maps, {recipe.centres} centres"


def federated(recipe: VaeRecipe) -> Measure:
    """An encoder by a server's few public pictures, and one that devices trained from there."""

    def measure(seed: int) -> Iterator[Found]:
        training, test = pictures()
        public, private = (
            Pictures(training.data.take(rows), training.normalization)
            for rows in np.split(np.arange(TRAINING), [PUBLIC])
        )
        of_server = train_vae(public, replace(recipe, epochs=FEW_EPOCHS), seed)
        devices = dealt(private, DEVICES, ALPHA, seed)
        for name, networks in (
            ("the server's public pictures", of_server),
            ("devices' pictures, federated", train_encoder(of_server, devices, Rounds(), seed)),
        ):
            codec = networks.codec(public)
            payload, file = code_means(codes_of(codec.half, test.data.x))
            setting, accuracy = f"{rate_name(recipe)}: encoder of {name}", codec.right(test).mean()
            yield setting, payload, file, float(accuracy), Sizes.of(codec.half)

    return measure
