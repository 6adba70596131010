"""The ``fedtiny`` command: before and after a run, and what this machine can do."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.option_types import (
    MOST_CLASSES,
    MOST_PROCESSES,
    FractionType,
    SampleShape,
    ShapeType,
)
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Part
from fedtiny.settings import MOST
from fedtiny.tiers.config import PolicyName

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Key = Annotated[
    Path | None, typer.Option(help="The device's private key; default: /etc/fedtiny/node.key.")
]
Authority = Annotated[str, typer.Option(help="Fingerprint that the federation must have.")]
_WATCH, _GREY = SampleShape(6, 1, 128), SampleShape(1, 28, 28)
Density = Annotated[
    float, typer.Option(click_type=FractionType(), help="nnz / prunable weights, in (0, 1].")
]
Input = Annotated[SampleShape, typer.Option("--input", click_type=ShapeType(), help="Of a sample.")]
Classes = Annotated[int, typer.Option(help="Of the model.", min=1, max=MOST_CLASSES)]
Run = Annotated[Path, typer.Argument(help="A run folder, e.g. runs/demo.")]
Accept = Annotated[
    list[Part] | None,
    typer.Option("--accept", help="Go on although this is not what the run left; repeat."),
]

app = CommandLine(no_args_is_help=True, help=__doc__)
bench = CommandLine(no_args_is_help=True, help="Measure on this machine, rivals in turn.")
app.add_typer(bench, name="bench")
fleet = CommandLine(no_args_is_help=True, help="Unequal devices, and a clock for them.")
app.add_typer(fleet, name="fleet")


def main() -> None:
    """Entry point."""
    app()


@app.command()
def export(
    run: Annotated[
        Path | None, typer.Argument(help="A run folder, e.g. runs/demo; or name a network:")
    ] = None,
    torch: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="A function that makes an nn.Module.")
    ] = "",
    pt2e: Annotated[
        Path | None, typer.Option(help="A converted program, saved by torch.export.save.")
    ] = None,
    tflite: Annotated[Path | None, typer.Option(help="An int8 .tflite, kept to the byte.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="An .npz with x and, if there are labels, y.")
    ] = None,
    prune: Annotated[
        float | None,
        typer.Option(
            click_type=FractionType(),
            help="Keep this share of the network's weights, the largest: one shot, no training.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the C project; default: RUN/firmware.")
    ] = None,
    check: bool = True,
    device: Annotated[str | None, typer.Option(help="Plan for a board of the catalogue.")] = None,
    core: Annotated[
        str | None, typer.Option(help="Plan for any board with this core: m0, m3, … m55.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Every layer's cost; no export.")
    ] = False,
    prefix: Annotated[
        str, typer.Option(help="Of the model's names in C; by default from the config.")
    ] = "",
    tier: Annotated[
        str,
        typer.Option(
            metavar="BOARD", help="The part of a run's model that this board trained (tiers)."
        ),
    ] = "",
    accept: Accept = None,
    as_json: Json = False,
) -> None:
    """Quantize a run's model, or a network of your own, and write its C project."""
    from fedtiny.export.command import Order, export_network, export_trained  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.importing.sources import Source  # noqa: PLC0415 - only this command pays for it; base installations lack some

    order = Order(out, check, device, core, report, prefix, tier)
    source = Source(torch, pt2e, tflite, calibration, prune)
    if run is None:
        found = export_network(source, order, show=not as_json)
    else:
        source.refuse_beside(run)
        found = export_trained(RunFolder(run), order, accept or (), show=not as_json)
    if as_json:
        _print_json(found)


@app.command()
def verify(
    firmware: Annotated[Path, typer.Argument(help="A firmware folder, e.g. runs/demo/firmware.")],
    target: Annotated[
        str, typer.Option(help="Comma-separated: host, qemu-m3, qemu-m4, qemu-m7, …")
    ] = "host",
    vectors: Annotated[
        int, typer.Option(help="Test vectors on each emulated board.", min=1, max=MOST)
    ] = 16,
    sanitize: Annotated[bool, typer.Option(help="The host's under ASan and UBSan.")] = False,
    cmsis_nn: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Link this CMSIS-NN (its Include and Source) for dense layers; "
            "wheel: 4.0 from an installed wheel.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build an exported project for this host or emulated boards and run its test vectors."""
    from fedtiny.boards.verify import failed, verify_targets  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.export.tables import print_targets  # noqa: PLC0415 - only this command pays for it; base installations lack some

    results = verify_targets(firmware, target.split(","), vectors, sanitize, cmsis_nn)
    if as_json:
        _print_json({"targets": {name: asdict(result) for name, result in results.items()}})
    else:
        print_targets(results)
    if failed(results):
        raise typer.Exit(1)


@app.command()
def deal(
    config: Annotated[Path, typer.Argument(help="TOML file of a run.")],
    out: Annotated[Path, typer.Option(help="Folder for the files, one for each device.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value; repeat.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Deal a simulation's samples: OUT/share-00000.npz, … and OUT/server.npz."""
    from fedtiny.config import load  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.data.simulated import deal_into, summarize  # noqa: PLC0415 - only this command pays for it; base installations lack some

    settings = load(config, set_ or [])
    written = deal_into(out, settings.data, settings.seed)
    if as_json:
        counts = asdict(summarize(settings.data, settings.seed))
        return _print_json({"folder": str(out), "written": written, "samples": counts})
    print(f"{out}: {settings.data.partitions} shares {'written' if written else 'were there'}")
    return None


@app.command()
def report(run: Run, accept: Accept = None, as_json: Json = False) -> None:
    """Write RUN/report.json, report.md and plots anew from its metrics."""
    from fedtiny.report import headline, write  # noqa: PLC0415 - only this command pays for it; base installations lack some

    folder = RunFolder(run)
    with folder.locked("fedtiny report"):
        written = write(folder, accept or ())
    if as_json:
        return _print_json(written)
    for line in headline(written):
        Screen().say(line)
    return None


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Run folders to draw in one picture.")],
    out: Annotated[Path, typer.Option(help="Folder for figures and CSV.")] = Path("plots"),
    as_json: Json = False,
) -> None:
    """Overlay several runs: accuracy by round and by bytes, layer densities."""
    from fedtiny.report import overlay  # noqa: PLC0415 - only this command pays for it; base installations lack some

    figures = [str(path) for path in overlay([RunFolder(run) for run in runs], out)]
    if as_json:
        return _print_json({"figures": figures})
    for figure in figures:
        print(figure)
    return None


@app.command()
def doctor(
    board: Annotated[str | None, typer.Option(help="One board of the catalogue.")] = None,
    own: Annotated[str, typer.Option("--catalog", help="A file with boards of your own.")] = "",
    model: Annotated[str, typer.Option(help="A registered model.")] = "smartwatch_cnn",
    input_shape: Input = _WATCH,
    classes: Classes = 7,
    batch: Annotated[int, typer.Option(help="Samples per training step.", min=1, max=MOST)] = 16,
    density: Density = 0.05,
    bundle: Annotated[
        Path | None, typer.Option("--node", help="Could this device run this node's bundle?")
    ] = None,
    key: Key = None,
    authority: Authority = "",
    as_json: Json = False,
) -> None:
    """What this machine has, and what each board can do with a model, and why not."""
    if bundle is not None:
        from fedtiny.node.commands import examine  # noqa: PLC0415 - only this command pays for it; base installations lack some

        return examine(bundle, key, authority, as_json)
    from fedtiny.devices.catalog import catalog, get  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.doctor.boards import examine_all  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.doctor.environment import check_environment  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.doctor.tables import print_boards, print_environment  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.models import build  # noqa: PLC0415 - only this command pays for it; base installations lack some

    profiles = [get(board, own)] if board else list(catalog(own).values())
    reports = examine_all(profiles, build(model, input_shape, classes), batch, density)
    checks = check_environment()
    if as_json:
        environment, boards = [asdict(c) for c in checks], [asdict(r) for r in reports]
        return _print_json({"environment": environment, "boards": boards})
    print_environment(checks)
    print_boards(reports)
    return None


@fleet.command("show")
def fleet_show(
    path: Annotated[Path, typer.Argument(metavar="FLEET", help="A fleet's TOML file.")],
    model: Annotated[str, typer.Option(help="A registered model.")] = "smartwatch_cnn",
    input_shape: Input = _WATCH,
    classes: Classes = 7,
    batch: Annotated[int, typer.Option(help="Samples per training step.", min=1, max=MOST)] = 64,
    density: Density = 0.05,
    samples: Annotated[int, typer.Option(help="Of each device.", min=1, max=MOST)] = 500,
    epochs: Annotated[int, typer.Option(help="Local passes per round.", min=1, max=MOST)] = 2,
    own: Annotated[str, typer.Option("--catalog", help="A file with boards of your own.")] = "",
    tiers: Annotated[
        PolicyName, typer.Option(help="Who trains which part of the model, as tiers.policy.")
    ] = PolicyName.NONE,
    as_json: Json = False,
) -> None:
    """What each kind of device holds of a model, and its simulated seconds and bytes a round."""
    from fedtiny.doctor.fleet import Question, examine_fleet  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.doctor.fleet_tables import print_fleet  # noqa: PLC0415 - only this command pays for it; base installations lack some

    question = Question(model, input_shape, classes, batch, density, samples, epochs, own, tiers)
    kinds = examine_fleet(path, question)
    if as_json:
        _print_json([kind.to_json() for kind in kinds])
    else:
        print_fleet(kinds, question)
    if all(kind.refused for kind in kinds):
        raise typer.Exit(1)


@app.command()
def node(
    bundle: Annotated[Path, typer.Argument(help="The folder that the operator gave.")],
    key: Key = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder to write to; default: /var/lib/fedtiny.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the node's clients; 0: any free.")
    ] = 0,
    authority: Authority = "",
) -> None:
    """Run this device's node of a federation; SIGTERM ends it."""
    from fedtiny.node.commands import run  # noqa: PLC0415 - only this command pays for it; base installations lack some

    run(bundle, key, state, port, authority)


@bench.command("firmware")
def bench_firmware(
    model: Annotated[str, typer.Option(help="A registered model.")] = "resnet8",
    density: Density = 0.05,
    input_shape: Input = _GREY,
    core: Annotated[str, typer.Option(help="m0, m3, m4, m7, m33 or m55, emulated.")] = "m4",
    classes: Classes = 10,
    convs_only: Annotated[bool, typer.Option("--convs-only", help="Convolutions only.")] = False,
    as_json: Json = False,
) -> None:
    """Count a sparse model's instructions on an emulated core, against dense kernels."""
    from fedtiny.bench.firmware import bench_firmware as run  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.bench.firmware_text import print_firmware  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.models import build  # noqa: PLC0415 - only this command pays for it; base installations lack some

    graph = build(model, input_shape, classes)
    result = run(graph, density, core, convs_only=convs_only)
    if as_json:
        return _print_json(asdict(result))
    return print_firmware(result)


@bench.command("train")
def bench_train(
    model: Annotated[str, typer.Option(help="A registered model.")] = "resnet8",
    density: Density = 0.05,
    batch: Annotated[int, typer.Option(help="Samples per optimizer step.", min=1, max=MOST)] = 64,
    threads: Annotated[int, typer.Option(min=1, max=MOST_PROCESSES)] = 1,
    input_shape: Annotated[
        SampleShape | None,
        typer.Option("--input", click_type=ShapeType(), help="Default: the model's usual."),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Default: the model's usual.", min=1, max=MOST_CLASSES)
    ] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Default: the batch.", min=1, max=MOST)
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed steps of each.", min=1, max=MOST)] = 15,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Also with sparse outputs recomputed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Training steps with PyTorch dense, masked dense and the sparse engine: time and memory."""
    from fedtiny.bench.text import print_train  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.bench.train import bench_train as run  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.bench.workload import workload  # noqa: PLC0415 - only this command pays for it; base installations lack some

    work = workload(
        model,
        density,
        batch,
        threads,
        input_shape=input_shape,
        classes=classes,
        micro_batch=micro_batch,
    )
    result = run(work, repeats, recompute)
    if as_json:
        return _print_json(result.json())
    print_train(result)
    return None


@bench.command("crossover")
def bench_crossover(
    repeats: Annotated[int, typer.Option(help="Timed steps of each.", min=1, max=MOST)] = 9,
    as_json: Json = False,
) -> None:
    """Time layers with the sparse engine's dense and sparse kernels, by density."""
    from fedtiny.bench.crossover import bench_crossover as run  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.bench.crossover import print_crossover  # noqa: PLC0415 - only this command pays for it; base installations lack some

    result = run(repeats=repeats)
    if as_json:
        return _print_json(result.json())
    print_crossover(result)
    return None


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1, default=str))
