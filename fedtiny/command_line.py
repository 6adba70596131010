"""Command lines that share their manners: ``--debug``, and errors as :mod:`fedtiny.user_errors`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import typer
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override

from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import never_fail
from fedtiny.user_errors import USERS, user_errors


class UsageError(FedTinyError):
    """A command line that means nothing; the message names the option."""


class CommandLine(typer.Typer):
    """A Typer whose commands know ``--debug`` and end as :mod:`fedtiny.user_errors` says."""

    def __init__(self, *, help: str | None = None, no_args_is_help: bool = False) -> None:
        super().__init__(
            cls=_Group,
            add_completion=False,
            pretty_exceptions_enable=False,
            help=help,
            no_args_is_help=no_args_is_help,
        )

    @override
    def command(  # type: ignore[override]  # Typer's other settings are not used here
        self, name: str | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return super().command(name, cls=_Command)


class _Manners(click.Command):
    @override
    def main(self, *args: Any, **extra: Any) -> Any:
        _main(self, *args, **extra)


class _Command(_Manners, TyperCommand):
    @override
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        # Read before anything is parsed (see _main); here so that it is known and explained.
        self.params.append(
            click.Option(
                ["--debug"], is_flag=True, expose_value=False, help="Show an error's traceback."
            )
        )


class _Group(_Manners, TyperGroup):
    pass


def _main(
    command: click.Command, args: Sequence[str] | None = None, prog_name: str | None = None
) -> None:
    """Parse and run; always ends in SystemExit, as Click's own ``main`` does."""
    words = list(sys.argv[1:] if args is None else args)
    never_fail(sys.stdout)
    never_fail(sys.stderr)
    with user_errors("--debug" in words, "--json" in words):
        try:
            with command.make_context(prog_name or _program(), words) as context:
                command.invoke(context)
        except click.exceptions.Exit as ending:
            sys.exit(ending.exit_code)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(USERS)
        except click.ClickException as error:
            raise UsageError(_sentence(error)) from error
    sys.exit(0)


def _program() -> str:
    """As one types it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return f"python -m {spec.name.removesuffix('.__main__')}"
    return Path(sys.argv[0]).name


def _sentence(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{text}; see {context.command_path} --help" if context else text
