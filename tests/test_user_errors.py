"""How commands end: one sentence and a status that says whose fault it is, whatever went wrong."""

import ast
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedtiny.command_line import CommandLine
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import never_fail, visible
from fedtiny.user_errors import explain

ROOT = Path(__file__).parents[1]


def foreign(module: str, base: type[Exception] = Exception) -> Exception:
    """An error of a package that is not imported."""
    kind = type("StartError", (base,), {"__module__": module})
    return kind("did not start\nmuch more")


USERS = {
    "no such model": FedTinyError("no such model"),
    "r: no space left; free some space": OSError(errno.ENOSPC, "No space left", "r"),
    "choose a place that you may write to": PermissionError(errno.EACCES, "Permission denied", "r"),
    "may write": OSError(errno.EROFS, "Read-only file system", "r"),
    "f/r: not a directory; a part of this path is a file": NotADirectoryError(
        errno.ENOTDIR, "Not a directory", "f/r"
    ),
    "ulimit -n": OSError(errno.EMFILE, "Too many open files"),
    "shorter": OSError(errno.ENAMETOOLONG, "File name too long", "n" * 300),
    "a -> b": OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"),
    "AF_UNIX path": OSError("AF_UNIX path length cannot exceed 107 bytes"),
    "too little memory": MemoryError(),
    "little memory": RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"),
    "memory": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "not UTF-8": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "UTF-8": UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"),
    "No module named 'torch'": ModuleNotFoundError("No module named 'torch'", name="torch"),
    "did not start; --backend inline": foreign("ray.exceptions"),
    "StartError": foreign("flwr.common", ValueError),
    "returned non-zero": subprocess.CalledProcessError(3, ["make"]),
}
OURS = {
    "KeyError": KeyError("a"),
    "AssertionError: it says no more": AssertionError(),
    "TypeError: one": TypeError("one\ntwo"),
    "ZeroDivisionError": ZeroDivisionError("division by zero"),
    "of our own": ModuleNotFoundError("of our own", name="fedtiny.gone"),
}


def end(error: BaseException, *arguments: str) -> tuple[int, str]:
    """Exit status and standard error of a command that raises ``error``."""
    cli = CommandLine()

    @cli.command()
    def fail(as_json: bool = False) -> None:
        print("begun")
        raise error

    result = CliRunner().invoke(cli, [*arguments])
    assert result.stdout == "begun\n"
    return result.exit_code, result.stderr


@pytest.mark.parametrize("words", USERS)
def test_what_users_can_put_right_ends_with_status_2(words: str) -> None:
    status, text = end(USERS[words])
    assert status == 2
    assert words in text
    assert len(text.splitlines()) == 1
    assert text.startswith("error: ")


@pytest.mark.parametrize("words", OURS)
def test_what_only_we_can_put_right_ends_with_status_1_and_says_so(words: str) -> None:
    status, text = end(OURS[words])
    assert status == 1
    assert words in text
    assert "a fault of FedTiny" in text
    assert "--debug" in text
    assert len(text.splitlines()) == 1


def test_an_interrupt_ends_with_status_130() -> None:
    assert end(KeyboardInterrupt()) == (130, "interrupted\n")


def test_debug_shows_the_traceback_and_keeps_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, variable in (["--debug"], "0"), ([], "1"):
        monkeypatch.setenv("FEDTINY_DEBUG", variable)
        status, text = end(PermissionError(errno.EACCES, "Permission denied", "r"), *arguments)
        assert status == 2
        assert "Traceback" in text
        assert text.splitlines()[-1].startswith("error: r: permission")
    monkeypatch.setenv("FEDTINY_DEBUG", "0")
    assert "Traceback" not in end(FedTinyError("no"))[1]


def test_a_command_line_that_means_nothing_is_one_sentence_too() -> None:
    cli = CommandLine()

    @cli.command()
    def count(number: int, as_json: bool = False) -> None:
        print(number)

    assert CliRunner().invoke(cli, ["7"]).stdout == "7\n"
    for arguments, words in (["x"], "not a valid integer"), ([], "Missing argument"):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_with_json_the_error_is_json() -> None:
    cli = CommandLine()

    @cli.command()
    def fail(as_json: bool = False) -> None:
        raise FedTinyError('no "model"')

    result = CliRunner().invoke(cli, ["--as-json", "--json"])
    assert result.exit_code == 2
    assert set(json.loads(result.stderr)) == {"error", "status"}


def test_nothing_in_a_sentence_is_obeyed_by_the_terminal() -> None:
    text = "[red]x[/red] :smile: \\[b] [/] \x1b[31m \udce9"
    status, shown = end(FedTinyError(text))
    assert status == 2
    assert shown == f"error: {visible(text)}\n"
    assert "\x1b" not in shown
    assert "\\x1b" in shown


def test_what_a_terminal_cannot_encode_is_spelled_out() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    never_fail(stream)
    stream.write("5 × µ \udce9")
    stream.flush()
    assert stream.buffer.getvalue() == b"5 \\xd7 \\xb5 \\udce9"


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "cp437:strict"])
def test_no_locale_stops_a_command(encoding: str) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "fedtiny", "plot", "/no/where/\u7f51\u7edc \U0001f600"],
        cwd=ROOT,
        env={**os.environ, **plain, "PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding="ascii",
        errors="replace",
        check=False,
    )
    assert done.returncode == 2
    assert "UnicodeEncodeError" not in done.stderr
    assert "fault of FedTiny" not in done.stderr
    assert "/no/where/" in done.stderr


def test_a_reader_that_leaves_is_no_error_to_talk_about() -> None:
    assert explain(BrokenPipeError(errno.EPIPE, "Broken pipe")).sentence == ""
    assert explain(BrokenPipeError(errno.EPIPE, "Broken pipe")).status == 1


def test_every_command_has_these_manners() -> None:
    """Whatever runs as a program is a CommandLine; the process that is measured says why not."""
    rooms = ("fedtiny", "clients", "strategies", "sims", "docs")
    apart = (
        "client_process.py",
        "contender.py",
        "executor.py",
        "watching.py",
    )  # other programs start and read them
    for path in sorted(path for room in rooms for path in (ROOT / room).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        calls = [ast.unparse(n.func) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
        assert not {"typer.Typer", "typer.run"} & {*calls}, path
        if '__name__ == "__main__"' in text and path.name not in apart:
            assert "CommandLine" in calls or "cli import main" in text, path
