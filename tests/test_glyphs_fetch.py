"""Fetching fonts, with programs that stand in for apt's; the real ones need a network."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from fedtiny.escaping.terminal import Screen
from sims.glyphs.fetch import fetch
from sims.glyphs.optional import GlyphError
from sims.glyphs.packages import Package, origin

ABEL, GONE = Package("fonts-abel", "OFL-1.1"), Package("fonts-gone", "MIT")
INSIDE = {
    "./usr/share/fonts/Abel.ttf": b"font",
    "./usr/share/doc/fonts-abel/copyright": b"OFL",
    "./usr/bin/run": b"#!",
}


class Machine:
    """Programs in a folder that is all of PATH that comes first.

    Attributes:
        log: what was called, a line each.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.log, self.deb = folder, folder / "log", folder / "abel"
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:") as members:
            for name, raw in INSIDE.items():
                info = tarfile.TarInfo(name)
                info.size = len(raw)
                members.addfile(info, io.BytesIO(raw))
            link = tarfile.TarInfo("./usr/share/fonts/Link.ttf")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            members.addfile(link)
        self.deb.write_bytes(content.getvalue())
        digest = hashlib.sha256(content.getvalue()).hexdigest()
        stanza = f"Package: fonts-abel\nVersion: 1:2\nSize: {len(self.deb.read_bytes())}\n"
        (folder / "stanza").write_text(f"{stanza}SHA256: {digest}\n\n", encoding="utf-8")
        self.program("apt-cache", f"cat {folder}/stanza; exit 100")
        self.program(
            "apt-get",
            f'case "$*" in *download*) cp {self.deb} ./fonts-abel.deb;; esac',
        )
        self.program("dpkg-deb", 'cat "$2"')

    def program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{text}\n', encoding="utf-8")
        path.chmod(0o755)

    def called(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Machine:
    made = Machine(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made


def test_fonts_and_their_copyright_are_taken_out_and_nothing_else(machine, tmp_path):
    fonts = tmp_path / "fonts"
    assert fetch(fonts, [ABEL, GONE], Screen(quiet=True)) == ["fonts-gone"]
    files = [path for path in (fonts / "fonts-abel").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["Abel.ttf", "copyright", "package.json"]
    record = json.loads((fonts / "fonts-abel" / "package.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(machine.deb.read_bytes()).hexdigest()
    assert record == {
        "package": "fonts-abel",
        "licence": "OFL-1.1",
        "version": "1:2",
        "sha256": digest,
    }
    assert origin(fonts, "fonts-abel") == Package(**record)
    assert [path.name for path in fonts.iterdir()] == ["fonts-abel"]


def test_what_is_there_is_not_fetched_again(machine, tmp_path):
    fonts = tmp_path / "fonts"
    fetch(fonts, [ABEL], Screen(quiet=True))
    before = machine.called()
    assert fetch(fonts, [ABEL], Screen(quiet=True)) == []
    assert machine.called() == before != ""


def test_what_an_interruption_left_is_replaced(machine, tmp_path):
    fonts = tmp_path / "fonts"
    (fonts / ".fonts-abel.part").mkdir(parents=True)
    (fonts / ".fonts-abel.part" / "half.ttf").touch()
    (fonts / "fonts-abel").mkdir()  # no record: not whole
    fetch(fonts, [ABEL], Screen(quiet=True))
    assert not list(fonts.rglob("half.ttf"))
    assert origin(fonts, "fonts-abel").version == "1:2"


def test_no_network_is_said_with_apts_words(machine, tmp_path):
    machine.program("apt-get", "echo 'E: Temporary failure resolving' >&2; exit 100")
    with pytest.raises(GlyphError, match=r"Temporary failure resolving.*goes on where it was"):
        fetch(tmp_path / "fonts", [ABEL], Screen(quiet=True))


def test_another_file_than_apt_promised_is_refused(machine, tmp_path):
    machine.program("apt-get", 'case "$*" in *download*) echo other > fonts-abel.deb;; esac')
    with pytest.raises(GlyphError, match=r"left no fonts-abel"):
        fetch(tmp_path / "fonts", [ABEL], Screen(quiet=True))
    assert not (tmp_path / "fonts" / "fonts-abel").exists()


def test_a_package_that_cannot_be_read_is_refused(machine, tmp_path):
    machine.program("dpkg-deb", 'cat "$2"; exit 2')
    with pytest.raises(GlyphError, match=r"cannot read fonts-abel.deb"):
        fetch(tmp_path / "fonts", [ABEL], Screen(quiet=True))
    assert not (tmp_path / "fonts" / "fonts-abel").exists()


def test_no_debian_says_what_else_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        GlyphError, match=r"apt-get, apt-cache, dpkg-deb not found.*sims.glyphs make"
    ):
        fetch(tmp_path / "fonts", [ABEL], Screen(quiet=True))


def test_a_damaged_record_says_what_to_delete(tmp_path):
    (tmp_path / "fonts-abel").mkdir()
    (tmp_path / "fonts-abel" / "package.json").write_text('{"odd": 1}', encoding="utf-8")
    with pytest.raises(GlyphError, match=r"delete .*fonts-abel"):
        origin(tmp_path, "fonts-abel")
