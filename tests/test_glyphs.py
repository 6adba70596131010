"""Glyphs: rendering, clones, missing letters, the file that is written, and what goes wrong."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.data import DataConfig
from fedtiny.data.npz import read_npz
from fedtiny.data.simulated import deal
from fedtiny.escaping.terminal import Screen
from sims.glyphs.__main__ import cli
from sims.glyphs.alike import ALIKE, distances
from sims.glyphs.clients import Clients, find_clients
from sims.glyphs.faces import LETTERS, Face, family_name
from sims.glyphs.optional import GlyphError
from sims.glyphs.packages import Catalog, catalog
from sims.glyphs.render import SIDE, Jitter, Typesetter, jitter
from sims.glyphs.samples import FEWEST

DEJAVU = Path(mpl.get_data_path()) / "fonts" / "ttf"
FAMILIES = ("DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif")
NONE = Catalog((), {}, {})
SANS = DEJAVU / "DejaVuSans.ttf"


@pytest.fixture
def fonts(tmp_path: Path) -> Path:
    """Three families: of four faces, of two, and of one."""
    folder = tmp_path / "fonts"
    names = ["Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique", "Serif", "Serif-Bold"]
    for name in [*names, "SansMono"]:
        package = folder / f"fonts-{name.split('-')[0].lower()}"
        package.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEJAVU / f"DejaVu{name}.ttf", package)
    return folder


def changed(target: Path, name: str = "", without: str = "") -> None:
    """DejaVu Sans under another name, or without some letters."""
    with TTFont(SANS) as font:
        for record in font["name"].names:
            if name and record.nameID in (1, 16):
                record.string = name
        for table in font["cmap"].tables:
            for letter in without:
                table.cmap.pop(ord(letter), None)
        target.parent.mkdir(parents=True, exist_ok=True)
        font.save(target)


def found(fonts: Path, count: int, known: Catalog = NONE) -> Clients:
    return find_clients(fonts, known, count, 0, Screen(quiet=True))


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ending:
        cli([str(word) for word in words])
    return int(ending.value.code)  # type: ignore[arg-type]


def make(fonts: Path, out: Path, *more: str) -> int:
    return run("make", "--fonts", fonts, "--out", out, "--families", "3", *more)


def test_letters_are_drawn_on_one_scale_in_the_middle():
    alphabet = Typesetter(SANS).alphabet()
    assert alphabet.shape == (26, SIDE, SIDE)
    inked = alphabet > 100
    heights = inked.any(axis=2).sum(axis=1)
    widths = inked.any(axis=1).sum(axis=1)
    assert heights.max() in (19, 20, 21)
    assert widths.max() <= 23
    assert widths[LETTERS.index("I")] < 6 < widths[LETTERS.index("W")]
    rows, columns = np.indices((SIDE, SIDE))
    for picture in alphabet[[LETTERS.index(letter) for letter in "HIOX"]]:
        middle = (picture * rows).sum() / picture.sum(), (picture * columns).sum() / picture.sum()
        assert middle == pytest.approx((13.5, 13.5), abs=0.6)


def test_jitter_moves_as_it_says():
    setter = Typesetter(SANS)
    rows, columns = np.indices((SIDE, SIDE))

    def centre(picture):
        weight = picture.astype(float)
        return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()

    plain, moved = setter.picture("H"), setter.picture("H", Jitter(shift=(2.0, -1.0)))
    assert centre(moved)[0] - centre(plain)[0] == pytest.approx(2, abs=0.05)
    assert centre(moved)[1] - centre(plain)[1] == pytest.approx(-1, abs=0.05)
    assert setter.picture("H", Jitter(stroke=1)).sum() > 1.1 * plain.sum()
    assert setter.picture("H", Jitter(scale=(0.9, 0.9))).sum() < 0.9 * plain.sum()
    turned = setter.picture("I", Jitter(degrees=90))
    assert (turned > 100).any(axis=1).sum() < 6 < (turned > 100).any(axis=0).sum()


@given(st.integers(0, 2**40), st.sampled_from(LETTERS), st.integers(0, 7))
def test_jitter_is_a_function_of_its_position_and_keeps_the_ink(seed, letter, copy):
    face = Face("DejaVu Sans", "Book", SANS, "anywhere")
    drawn = jitter(seed, face, letter, copy)
    assert drawn == jitter(seed, Face("DejaVu Sans", "Book", SANS, "elsewhere"), letter, copy)
    assert drawn != jitter(seed, face, letter, copy + 1)
    assert drawn != jitter(seed + 1, face, letter, copy)
    setter = Typesetter(SANS)
    whole, inner = setter.picture(letter, drawn), np.s_[1:-1, 1:-1]
    assert whole[inner].sum() > 0.98 * whole.sum()


def test_styles_at_the_end_of_a_name_are_no_families_of_their_own():
    same = {"DejaVu Odd": "DejaVu Sans"}
    for name in ("DejaVu Sans Condensed", "DejaVu Sans Semi-Condensed ExtraLight", "DejaVu Odd"):
        assert family_name(name, same) == "DejaVu Sans"
    assert family_name("DejaVu Sans Mono", {}) == "DejaVu Sans Mono"


def test_distances_are_symmetric_and_zero_for_the_same():
    faces = np.stack([Typesetter(DEJAVU / f"DejaVu{n}.ttf").alphabet() for n in ("Sans", "Serif")])
    apart = distances(faces, faces)
    assert np.array_equal(apart, apart.T)
    assert np.array_equal(np.diag(apart), [0, 0])
    assert apart[0, 1] > 2 * ALIKE


def test_a_clone_under_another_name_is_no_second_client(fonts):
    changed(fonts / "fonts-clone" / "Clone.ttf", name="Arial Clone")
    clients = found(fonts, 3)
    assert sorted(one.name for one in clients.families) == list(FAMILIES)
    (clone,) = [one for one in clients.skipped if one.name == "Arial Clone"]
    assert clone.reason == "looks like DejaVu Sans (0.000)"
    assert clone.package == "fonts-clone"


def test_a_face_twice_in_a_family_is_one_face(fonts):
    changed(fonts / "fonts-again" / "Again.ttf")
    sans = next(one for one in found(fonts, 3).families if one.name == "DejaVu Sans")
    assert len(sans.faces) == 4


def test_what_cannot_be_rendered_is_named_with_its_reason(fonts):
    changed(fonts / "fonts-poor" / "Poor.ttf", name="Poor", without="QX")
    (fonts / "fonts-poor" / "broken.otf").write_bytes(b"OTTO and no more")
    clients = found(fonts, 2, Catalog((), {}, {"DejaVu Serif": "for the test"}))
    reasons = {one.name: one.reason for one in clients.skipped}
    assert reasons["Poor.ttf"] == "lacks QX"
    assert reasons["broken.otf"].startswith("cannot be read: ")
    assert reasons["DejaVu Serif"] == "for the test"


def test_fonts_whose_letters_have_no_ink_are_named(fonts):
    with TTFont(SANS) as font:
        for table in font["cmap"].tables:
            if ord("Q") in table.cmap:
                table.cmap[ord("Q")] = table.cmap[ord(" ")]
        for record in font["name"].names:
            record.string = "Blank" if record.nameID in (1, 16) else record.string
        font.save(fonts / "fonts-serif" / "Blank.ttf")
    reasons = {one.name: one.reason for one in found(fonts, 3).skipped}
    assert reasons["Blank.ttf"] == "Blank.ttf: draws nothing for Q"


def test_the_same_fonts_and_seed_are_the_same_bytes(fonts, tmp_path, capsys):
    first, again, other = (tmp_path / name for name in ("a.npz", "b.npz", "c.npz"))
    assert [make(fonts, first), make(fonts, again), make(fonts, other, "--seed", "1")] == [0] * 3
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    assert "3 families" in capsys.readouterr().err
    one, two = (
        json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in (first, again)
    )
    assert one == two
    assert [sorted(row) for row in one["families"]] == [
        ["copies", "family", "owner", "samples", "sources", "styles"]
    ] * 3
    assert {row["family"]: row["samples"] for row in one["families"]} == dict.fromkeys(
        FAMILIES, 26 * FEWEST
    )


def test_the_reader_takes_what_is_written(fonts, tmp_path, capsys):
    path = tmp_path / "glyphs.npz"
    assert make(fonts, path, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    data, _, test = read_npz(path)
    assert test is None
    assert (data.input_shape, data.x.dtype, data.labels) == ((1, 28, 28), np.uint8, tuple(LETTERS))
    assert data.sensor.scale == (1 / 255,)
    counts = np.bincount(data.owner).tolist()
    assert counts == [row["samples"] for row in record["families"]]
    assert all(np.bincount(data.y[data.owner == owner]).min() == FEWEST for owner in range(3))
    assert record["families"][0]["sources"][0]["licence"] == "unknown"


def test_no_copy_of_a_drawing_is_in_two_views(fonts, tmp_path):
    for name in ("DejaVuS*.ttf", "STIXGen*.ttf", "cmr10.ttf", "cmtt10.ttf"):
        for file in DEJAVU.glob(name):
            shutil.copy(file, fonts)
    package, path = fonts.rename(tmp_path / "all"), tmp_path / "glyphs.npz"
    shutil.move(package, fonts / "all")
    assert run("make", "--fonts", fonts, "--out", path, "--families", "6") == 0
    rows = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["families"]
    assert sorted(len(row["styles"]) for row in rows) == [1, 1, 4, 4, 4, 4]
    unseen = next(row["owner"] for row in rows if row["family"] == "cmr10")
    federation = deal(DataConfig(source="npz", path=path, partitions=5, unseen_people=(unseen,)), 0)
    with np.load(path) as arrays:
        drawing = arrays["recording"] * 26 + arrays["start"]
        of = {x.tobytes(): each for x, each in zip(arrays["x"], drawing, strict=True)}
    assert len(of) == len(drawing)
    for client in federation.clients:
        views = [client.train, client.development, client.test]
        seen = [{of[x.tobytes()] for x in view.x} for view in [*views, federation.server.public]]
        assert sum(map(len, seen)) == len(set.union(*seen))
        assert min(len(np.unique(view.y)) for view in (client.train, client.test)) > 20
    assert set(federation.server.unseen.owner.tolist()) == {unseen}


def test_every_package_is_listed_once_with_a_licence():
    names = [one.package for one in catalog().packages]
    assert len(set(names)) == len(names)
    assert all(one.licence.strip() for one in catalog().packages)
    assert not set(catalog().same) & set(catalog().same.values()), "one step leads to the family"


def test_too_few_families_say_how_to_get_more(fonts, tmp_path, capsys):
    assert run("make", "--fonts", fonts, "--out", tmp_path / "x.npz") == 2
    said = capsys.readouterr().err
    assert "has 3 families that differ, 220 are wanted" in said
    assert "sims.glyphs fetch" in said
    assert not (tmp_path / "x.npz").exists()


def test_no_fonts_say_how_to_get_them(tmp_path, capsys):
    assert make(tmp_path / "nowhere", tmp_path / "x.npz") == 2
    assert "python -m sims.glyphs fetch" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    with pytest.raises(GlyphError, match="has 0 families"):
        found(tmp_path / "empty", 2)


@pytest.mark.parametrize(("module", "package"), [("PIL", "Pillow"), ("fontTools", "fontTools")])
def test_a_missing_extra_is_named(fonts, tmp_path, capsys, monkeypatch, module, package):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert make(fonts, tmp_path / "x.npz") == 2
    assert f"needs {package}: pip install 'fedtiny[data]'" in capsys.readouterr().err


def test_the_sheet_is_a_picture(fonts, tmp_path):
    path = tmp_path / "glyphs.npz"
    assert make(fonts, path) == 0
    assert run("sheet", path, "--rows", "2") == 0
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
