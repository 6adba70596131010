"""``fedtiny bench``: measurements on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from fedtiny.bench.peer_cases import Work
from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.option_types import MOST_CLASSES, MOST_PROCESSES, SampleShape, ShapeType
from fedtiny.options import GREY, Classes, Density, Input, Json, print_json
from fedtiny.settings import MOST

bench = CommandLine(no_args_is_help=True, help="Measure on this machine, rivals in turn.")


@bench.command("firmware")
def bench_firmware(
    model: Annotated[str, typer.Option(help="A registered model.")] = "resnet8",
    density: Density = 0.05,
    input_shape: Input = GREY,
    core: Annotated[str, typer.Option(help="m0, m3, m4, m7, m33 or m55, emulated.")] = "m4",
    classes: Classes = 10,
    convs_only: Annotated[bool, typer.Option("--convs-only", help="Convolutions only.")] = False,
    cmsis_nn: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Dense kernels of this CMSIS-NN (its Include and Source), any release from 4.0 "
            "on; default: 4.0 from an installed wheel.",
        ),
    ] = None,
    wait_states: Annotated[
        int,
        typer.Option(help="Of the flash, in the model of a Cortex-M4's cycles.", min=0, max=15),
    ] = 0,
    cycles: Annotated[
        bool, typer.Option(help="Of a Cortex-M4; takes gcc and QEMU's plugins.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Count a sparse model's instructions on an emulated core, against dense kernels.

    On the m4 also modelled cycles of what was executed.
    """
    from fedtiny.bench.firmware import bench_firmware as run  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.bench.firmware_text import print_firmware  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.boards.cmsis_nn import WHEEL  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.boards.cortex_m4 import CortexM4  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.models import build  # noqa: PLC0415 - only this command pays for it; base installations lack some

    graph = build(model, input_shape, classes)
    library = WHEEL if cmsis_nn is None else cmsis_nn
    timing = CortexM4(wait_states=wait_states) if cycles else None
    result = run(graph, density, core, convs_only=convs_only, library=library, timing=timing)
    if as_json:
        return print_json(asdict(result))
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
    layers: Annotated[
        bool, typer.Option("--layers", help="Also the sparse step by layer, beside its limit.")
    ] = False,
    instruction_set: Annotated[
        str | None, typer.Option(help="avx2: nobody uses wider vectors. Default: all there are.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Training steps with PyTorch dense, masked dense and the sparse engine: time and memory."""
    from fedtiny.bench.narrower import limit  # noqa: PLC0415 - before PyTorch

    if instruction_set:
        limit(instruction_set)
    from fedtiny.bench.layers import profile_layers  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.bench.text import print_layers, print_train  # noqa: PLC0415 - only this command pays for it; base installations lack some
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
    profile = profile_layers(work, repeats) if layers else None
    if as_json:
        more = {"layers": [asdict(one) for one in profile.layers]} if profile else {}
        return print_json(result.json() | more)
    print_train(result)
    if profile:
        print_layers(profile, Screen())
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
        return print_json(result.json())
    print_crossover(result)
    return None


@bench.command("peers")
def bench_peers(
    work: Annotated[
        list[Work] | None, typer.Option(help="resnet18, ffn or mlp; may be repeated. Default: all.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed steps of each.", min=1, max=MOST)] = 7,
    as_json: Json = False,
) -> None:
    """Training steps beside who else trains on CPUs, on works that they chose: time and memory."""
    from fedtiny.bench.peers import bench_peers as run  # noqa: PLC0415 - only this command pays for it; base installations lack some
    from fedtiny.bench.peers_text import print_peers  # noqa: PLC0415 - only this command pays for it; base installations lack some

    told = Screen(stderr=True)
    found = list(run(work or tuple(Work), repeats, told.print))
    if as_json:
        return print_json([asdict(row) for row in found])
    return print_peers(found, Screen())
