"""``python -m sims.study.codecs``: what each codec makes of Fashion-MNIST at how many bytes.

Pictures are taken from the front of both parts, so that all codecs and seeds see the same; seeds
are those of weights and order. Encoders are int8, as exported: every code is what the device's C
writes. Rows that docs/results/codecs.csv has are not measured again; then tables and pictures of
docs/results/codecs.md are rewritten.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from fedtiny.codecs.blocks import split
from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.native import NativeCode
from fedtiny.codecs.picture_files import PictureFormat, cut, payload_bytes, read, write
from fedtiny.codecs.server.classifying import train_classifier
from fedtiny.codecs.server.fitting import Lesson, Pictures, right
from fedtiny.codecs.server.networks import PictureClassifier
from fedtiny.codecs.server.pnc import JointLoss, Recipe, train_pnc
from fedtiny.codecs.server.vae import VaeRecipe, train_vae
from fedtiny.command_line import CommandLine
from fedtiny.data.idx import read_idx_directory
from fedtiny.escaping.terminal import Screen
from fedtiny.firmware.planner import ANY_CORTEX_M4, fit
from fedtiny.quant import reference
from fedtiny.report import rows as csv_rows
from fedtiny.report.blocks import replace_block
from fedtiny.seeding import rng
from sims.code_version import code_version
from sims.study.codecs_page import BEGIN, END, draw, tables
from sims.study.codecs_rows import Row, setting_of

DATA = Path("/usr/share/datasets/fashion-mnist")
PAGE = Path("docs/results/codecs.md")
TRAINING, TESTED = 8000, 2000
EPOCHS = 6
"""Of every classifier of pictures."""
BUDGETS = (8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96, 128)
"""Bytes of PNC and of progressive JPEG."""
JPEG_QUALITIES, HALF_QUALITIES, WEBP_QUALITIES = (1, 5), (5,), (1,)
PROGRESSIVE_QUALITIES = (10,)
RATES = (VaeRecipe(1, 2), VaeRecipe(2, 3), VaeRecipe(4, 3), VaeRecipe(4, 4))
PNC = {
    "tail-drop": Recipe(),
    "no tail-drop": Recipe(tail_drop=False),
    "tail-drop to clean logits": Recipe(joint=JointLoss.CLEAN_LOGITS),
}


@cache
def pictures() -> tuple[Pictures, Pictures]:
    """(training, test)."""
    training, test = read_idx_directory(DATA, ())
    return Pictures.of(training.take(np.arange(TRAINING)), test.take(np.arange(TESTED)))


@cache
def clean(seed: int) -> PictureClassifier:
    """The classifier of clean pictures."""
    return train_classifier(pictures()[0], Lesson(EPOCHS, seed=seed))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of an encoder on a Cortex-M4: parameters, bytes of weights and tables, arena."""

    parameters: int = 0
    flash_bytes: int = 0
    arena_bytes: int = 0

    @classmethod
    def of(cls, half: DeviceHalf) -> Sizes:
        """Planned as any export is; the alphabet and the coder's tables count as flash."""
        plan = fit(half.encoder, ANY_CORTEX_M4).require()
        return cls(half.parameters, plan.flash_bytes + half.table_bytes, plan.arena.nbytes)


Found = tuple[str, float, float, float, Sizes]
"""(setting, payload bytes, file bytes, accuracy, sizes) of a row."""

Measure = Callable[[int], Iterator[Found]]
"""The rows of a seed."""


@dataclass(frozen=True, slots=True)
class Job:
    """What gives the rows of one codec's setting.

    Attributes:
        codec, setting, seed: of the rows, whose settings begin with it.
        measure: gives them.
    """

    codec: str
    setting: str
    seed: int
    measure: Measure


def codes_of(half: DeviceHalf, x: np.ndarray) -> list[bytes]:
    """Each picture's whole code, by the C."""
    latents = reference.run(half.encoder, x.astype(np.int16))
    with tempfile.TemporaryDirectory() as directory:
        native = NativeCode(half.code, Path(directory))
        return [native.encode(latent, 4096) for latent in latents]


def pnc(name: str) -> Measure:
    """PNC at every budget: features that arrive whole count, the others are zeros."""

    def measure(seed: int) -> Iterator[Found]:
        training, test = pictures()
        codec = train_pnc(training, clean(seed), PNC[name], seed)
        correct, codes = codec.right(test), codes_of(codec.half, test.data.x)
        sizes, rows = Sizes.of(codec.half), np.arange(len(codes))
        with tempfile.TemporaryDirectory() as directory:
            native = NativeCode(codec.half.code, Path(directory))
            for budget in (*BUDGETS, None):
                sent = [code[:budget] for code in codes]
                features = np.array([len(native.decode(code)) for code in sent])
                accuracy = float(correct[rows, features].mean())
                yield setting_of(name, budget), *_means(sent), accuracy, sizes

    return measure


def vae(recipe: VaeRecipe) -> Measure:
    """One codec of a fixed rate."""

    def measure(seed: int) -> Iterator[Found]:
        training, test = pictures()
        codec = train_vae(training, recipe, seed)
        symbols, codes = codec.half.symbols(test.data.x), codes_of(codec.half, test.data.x)
        table = float(np.mean([codec.half.code.bits(one) for one in symbols])) / 8
        context = float(codec.context_bits(symbols).mean()) / 8
        payload, file = _means(codes)
        accuracy, name = float(codec.right(test).mean()), _rate(recipe)
        yield name, payload, file, accuracy, Sizes.of(codec.half)
        yield f"{name}: bits by static tables", table, table, accuracy, Sizes()
        yield f"{name}: bits by context model", context, context, accuracy, Sizes()

    return measure


def _rate(recipe: VaeRecipe) -> str:
    return f"{recipe.channels} maps, {recipe.centres} centres"


def _means(codes: list[bytes]) -> tuple[float, float]:
    """Bytes of a code, and of the blocks that carry it."""
    blocks = [sum(map(len, split(code, 0))) for code in codes]
    return float(np.mean([len(code) for code in codes])), float(np.mean(blocks))


def still(kind: PictureFormat, quality: int, shrink: int = 1) -> Measure:
    """A format at one quality: a classifier retrained on its pictures, and the clean one."""

    def measure(seed: int) -> Iterator[Found]:
        training, test = pictures()
        files = [write(_smaller(x, shrink), kind, quality) for x in test.data.x]
        seen = _read(test, files, shrink)
        files_ = [write(_smaller(x, shrink), kind, quality) for x in training.data.x]
        learned = _read(training, files_, shrink)
        retrained = train_classifier(learned, Lesson(EPOCHS, seed=seed))
        for name, network in (("retrained", retrained), ("clean", clean(seed))):
            accuracy = float(right(network, seen.x, seen.y).mean())
            setting = f"{_quality(quality, shrink)}, {name} classifier"
            yield setting, *_file_means(files), accuracy, Sizes()

    return measure


def _quality(quality: int, shrink: int) -> str:
    return f"quality {quality}" if shrink == 1 else f"1/{shrink} size quality {quality}"


def progressive(quality: int) -> Measure:
    """Progressive JPEG cut at every budget; one classifier retrained on cuts anywhere."""

    def measure(seed: int) -> Iterator[Found]:
        (training, test), kind = pictures(), PictureFormat.PROGRESSIVE_JPEG
        cuts = rng(seed, "cuts").choice(BUDGETS, len(training.data))
        whole = [write(x, kind, quality) for x in training.data.x]
        learned = _read(training, [cut(one, int(n)) for one, n in zip(whole, cuts, strict=True)])
        retrained = train_classifier(learned, Lesson(EPOCHS, seed=seed))
        whole = [write(x, kind, quality) for x in test.data.x]
        for budget in BUDGETS:
            files = [cut(file, budget) for file in whole]
            seen = _read(test, files)
            for name, network in (("retrained", retrained), ("clean", clean(seed))):
                accuracy = float(right(network, seen.x, seen.y).mean())
                setting = f"quality {quality}, {name} classifier"
                yield setting_of(setting, budget), *_file_means(files), accuracy, Sizes()

    return measure


def _file_means(files: list[bytes]) -> tuple[float, float]:
    """Bytes of a payload, and of a file."""
    payloads = [payload_bytes(file) for file in files]
    return float(np.mean(payloads)), float(np.mean([len(file) for file in files]))


def _smaller(x: np.ndarray, shrink: int) -> np.ndarray:
    """The mean of every ``shrink``² pixels."""
    channels, height, width = x.shape
    blocks = x.reshape(channels, height // shrink, shrink, width // shrink, shrink)
    means: np.ndarray = np.rint(blocks.mean((2, 4))).astype(np.uint8)
    return means


def _read(pictures_: Pictures, files: list[bytes], shrink: int = 1) -> Pictures:
    channels, height, width = pictures_.data.input_shape
    shape = (channels, height // shrink, width // shrink)
    small = np.stack([read(file, shape) for file in files])
    return pictures_.seen_as(small.repeat(shrink, 2).repeat(shrink, 3))


def jobs(seeds: int) -> list[Job]:
    """Every job, seeds outermost, so that a study that is stopped has whole tables of some."""
    found = list[Job]()
    for seed in range(seeds):
        found += [Job("pnc", name, seed, pnc(name)) for name in list(PNC)[:2]]
        found += [Job("vae", _rate(one), seed, vae(one)) for one in RATES]
        for q in PROGRESSIVE_QUALITIES:
            found.append(Job("progressive_jpeg", f"quality {q}", seed, progressive(q)))
        for kind, qualities, shrink in (
            (PictureFormat.JPEG, JPEG_QUALITIES, 1),
            (PictureFormat.JPEG, HALF_QUALITIES, 2),
            (PictureFormat.WEBP, WEBP_QUALITIES, 1),
        ):
            for q in qualities:
                found.append(Job(kind.value, _quality(q, shrink), seed, still(kind, q, shrink)))
    ablated = "tail-drop to clean logits"
    return [*found, *(Job("pnc", ablated, seed, pnc(ablated)) for seed in range(seeds))]


cli = CommandLine()


@cli.command()
def study(
    seeds: Annotated[int, typer.Option(help="Seeds 0 … n−1.", min=1, max=100)] = 3,
    first_seed: Annotated[int, typer.Option(help="Leave earlier ones out.", min=0)] = 0,
    codec: Annotated[list[str] | None, typer.Option(help="Only these; default: all.")] = None,
    page: Annotated[Path, typer.Option(help="File whose tables are rewritten.")] = PAGE,
) -> None:
    """Measure what the CSV lacks, then rewrite tables and pictures."""
    path, commit, screen = page.with_suffix(".csv"), code_version(), Screen(stderr=True)
    torch.set_num_threads(1)
    if not path.is_file():
        csv_rows.write(path, Row, [])
    for job in jobs(seeds):
        known = [row for row in csv_rows.read(path, Row) if row.seed == job.seed]
        if (codec and job.codec not in codec) or job.seed < first_seed:
            continue
        if any(row.codec == job.codec and row.belongs(job.setting) for row in known):
            continue
        for setting, payload, file, accuracy, sizes in job.measure(job.seed):
            row = Row(
                codec=job.codec,
                setting=setting,
                seed=job.seed,
                payload_bytes=round(payload, 2),
                file_bytes=round(file, 2),
                accuracy=round(accuracy, 4),
                encoder_parameters=sizes.parameters or None,
                encoder_flash_bytes=sizes.flash_bytes or None,
                arena_bytes=sizes.arena_bytes or None,
                commit=commit,
            )
            csv_rows.append(path, row)
            screen.say(f"{row.codec} {setting} seed {row.seed}: {payload:.1f} B {accuracy:.3f}")
    if codec:
        return  # parts may run beside each other; the whole command rewrites the page
    draw(path)
    text = page.read_text(encoding="utf-8")
    page.write_text(replace_block(text, BEGIN, END, tables(path)), encoding="utf-8")


if __name__ == "__main__":
    cli()
