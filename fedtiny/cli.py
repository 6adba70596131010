"""The ``fedtiny`` command: before and after a run, and what this machine can do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.cli_bench import bench
from fedtiny.cli_fleet import fleet
from fedtiny.command_line import CommandLine
from fedtiny.config.adapt import MethodName
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen
from fedtiny.option_types import FractionType, WeightBits
from fedtiny.options import WATCH, Classes, Density, Input, Json, print_json
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Part
from fedtiny.settings import MOST

Key = Annotated[
    Path | None, typer.Option(help="The device's private key; default: /etc/fedtiny/node.key.")
]
Authority = Annotated[str, typer.Option(help="Fingerprint that the federation must have.")]
Run = Annotated[Path, typer.Argument(help="A run folder, e.g. runs/demo.")]
Accept = Annotated[
    list[Part] | None,
    typer.Option("--accept", help="Go on although this is not what the run left; repeat."),
]

app = CommandLine(no_args_is_help=True, help=__doc__)
app.add_typer(bench, name="bench")
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
    adapted: Annotated[
        str, typer.Option(metavar="METHOD", help="The run's model as this method adapted it.")
    ] = "",
    learn: Annotated[
        MethodName | None,
        typer.Option(
            help="Of a run's model: what its project can learn on the device; head or "
            "repnet_one_way."
        ),
    ] = None,
    weight_bits: Annotated[
        WeightBits | None, typer.Option(help="Of a run's sparse layers; default: the config's.")
    ] = None,
    accept: Accept = None,
    as_json: Json = False,
) -> None:
    """Quantize a run's model, or a network of your own, and write its C project."""
    from fedtiny.export.command import Order, export_network, export_trained  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.importing.sources import Source  # noqa: PLC0415 - only this command pays for it; base installations lack some

    bits = None if weight_bits is None else int(weight_bits)
    order = Order(out, check, device, core, report, prefix, tier, adapted, bits)
    source = Source(torch, pt2e, tflite, calibration, prune)
    if run is None:
        if learn is not None:
            raise FedTinyError("--learn is of a run's model: name a run folder, too")
        found = export_network(source, order, show=not as_json)
    else:
        source.refuse_beside(run)
        learning = None
        if learn is not None:
            from fedtiny.learn.command import OnDevice  # noqa: PLC0415 - only this command pays for it; base installations lack some

            learning = OnDevice(learn)
        found = export_trained(RunFolder(run), order, accept or (), not as_json, learning)
    if as_json:
        print_json(found)


@app.command()
def adapt(
    run: Run,
    data: Annotated[
        Path, typer.Option(help="The wearer's counts, length, label; of pictures x, label.")
    ],
    method: Annotated[
        MethodName, typer.Option(help="What is trained.")
    ] = MethodName.REPNET_ONE_WAY,
    device: Annotated[str, typer.Option(help="Board whose budget holds.")] = "pi_zero_2_w",
    recordings: Annotated[
        int | None,
        typer.Option(
            help="Of each class to learn from; default: all but the last.", min=1, max=MOST
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Of the optimizer.", min=1, max=MOST)] = 100,
    seed: Annotated[int, typer.Option(help="Of order and new weights.", min=0, max=MOST)] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder; default: RUN/adapted/METHOD.")] = None,
    export: Annotated[
        bool, typer.Option("--export", help="Write and check its C project, too.")
    ] = False,
    target: Annotated[
        str | None, typer.Option(help="Board that the C project is planned for.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let a run's model learn one wearer from labelled recordings, within a board's memory."""
    from fedtiny.adapt.command import Wish, adapt_run  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.adapt.learning import Lesson  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.adapt.personal import Order as Adaptation  # noqa: PLC0415 - only this command pays for it; base installations lack some

    order = Adaptation(data, method, recordings, None, Lesson(steps), seed)
    found = adapt_run(run, order, Wish(device, out, export, target), show=not as_json)
    if as_json:
        print_json(found)


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
        print_json({"targets": {name: asdict(result) for name, result in results.items()}})
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
        return print_json({"folder": str(out), "written": written, "samples": counts})
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
        return print_json(written)
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
        return print_json({"figures": figures})
    for figure in figures:
        print(figure)
    return None


@app.command()
def doctor(
    board: Annotated[str | None, typer.Option(help="One board of the catalogue.")] = None,
    own: Annotated[str, typer.Option("--catalog", help="A file with boards of your own.")] = "",
    model: Annotated[str, typer.Option(help="A registered model.")] = "smartwatch_cnn",
    input_shape: Input = WATCH,
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
        return print_json({"environment": environment, "boards": boards})
    print_environment(checks)
    print_boards(reports)
    return None


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
