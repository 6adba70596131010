"""clients/README.md: its commands exist and parse; test_deploy_federation runs the local ones."""

from __future__ import annotations

import re
import shlex
import subprocess

import click
import pytest
import typer
from guide import BLOCKS, FIRST, LINES, TEXT

from fedtiny import cli as fedtiny_cli
from fedtiny.node.places import PROGRAMS, UNIT
from sims.deploy import cli as deploy_cli

ELSEWHERE = {
    *("apt-get", "python3", "/opt/fedtiny/bin/pip", "install", "sh", "sed", "systemctl"),
    *("git", "ssh", "scp", "cd", "journalctl"),
}
"""Programs of the systems that the guide is about."""


def ours() -> list[tuple[str, list[str]]]:
    """(program, words) of each command of FedTiny's."""
    found = []
    for line in LINES:
        for part in re.split(r"&&|\|", line):
            words = shlex.split(part, comments=True)
            if "sims.deploy" in words:
                found.append(("deploy", words[words.index("sims.deploy") + 1 :]))
            elif words and words[0] == "fedtiny":
                found.append(("fedtiny", words[1:]))
    return found


@pytest.mark.parametrize(
    ("program", "words"), ours(), ids=lambda value: value if isinstance(value, str) else value[0]
)
def test_a_command_of_the_guide_exists_and_parses(program: str, words: list[str]) -> None:
    app = deploy_cli.app if program == "deploy" else fedtiny_cli.app
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    command = group.commands[words[0]]
    if words[1:] not in ([], ["--node"]):  # named in passing, without arguments
        command.make_context(words[0], list(words[1:]))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][:40])
def test_a_block_is_shell_and_names_known_programs(block: str) -> None:
    subprocess.run(["sh", "-n"], input=block, encoding="utf-8", check=True)
    for line in block.splitlines():
        for part in re.split(r"&&|\|", line):
            program = next(w for w in shlex.split(part) if w != "sudo")
            assert program in ELSEWHERE | {"python", "fedtiny", f"{PROGRAMS}/python"}


def test_the_guide_covers_every_command() -> None:
    named = {words[0] for program, words in ours() if program == "deploy"}
    group = typer.main.get_command(deploy_cli.app)
    assert isinstance(group, click.Group)
    assert named == set(group.commands)
    assert UNIT.removesuffix(".service") in TEXT


def test_the_first_block_begins_and_ends_a_federation() -> None:
    assert [words[3] for words in FIRST] == ["init", "up", "status", "logs", "down"]
    assert all(words[:3] == ["python", "-m", "sims.deploy"] for words in FIRST)
