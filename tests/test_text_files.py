"""Text that people write, in every encoding an editor or a spreadsheet may have saved it in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedtiny import config
from fedtiny.config import RunConfig
from fedtiny.data import DataError
from fedtiny.data.csv_images import read_csv_directory
from fedtiny.devices.catalog import catalog
from fedtiny.errors import FedTinyError
from fedtiny.runs.folder import RunFolder
from fedtiny.settings import ConfigError
from fedtiny.text_files import TextFileError, decode, read_json, read_text, read_toml
from sims.study import plan

ROOT = Path(__file__).parents[1]
TEXT = '[data]\nlabel_names = ["ä — 走る", "b"]\n'
LATIN = TEXT.replace("— 走る", "é")

ENCODED = {
    "utf-8": TEXT.encode(),
    "utf-8-sig": b"\xef\xbb\xbf" + TEXT.encode(),
    "windows line ends": TEXT.replace("\n", "\r\n").encode(),
}
REFUSED = {
    "utf-16 with a mark": (TEXT.encode("utf-16"), "UTF-16", 1),
    "utf-16 big-endian with a mark": (b"\xfe\xff" + TEXT.encode("utf-16-be"), "UTF-16", 1),
    "utf-16 little-endian": (TEXT.encode("utf-16-le"), "UTF-16", 1),
    "utf-16 big-endian": (TEXT.encode("utf-16-be"), "UTF-16", 1),
    "utf-32 with a mark": (TEXT.encode("utf-32"), "UTF-32", 1),
    "utf-32 big-endian": (TEXT.encode("utf-32-be"), "UTF-32", 1),
    "latin-1": (LATIN.encode("latin1"), "Latin-1", 2),
    "latin-1 after a mark": (b"\xef\xbb\xbf" + LATIN.encode("latin1"), "Latin-1", 2),
    "windows-1252": (LATIN.replace("b", "€“”").encode("cp1252"), "Windows-1252", 2),
}


@pytest.mark.parametrize("raw", ENCODED.values(), ids=ENCODED)
def test_utf8_is_read_with_or_without_its_mark(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(raw)
    assert read_text(path) == TEXT
    assert config.load(path).data.label_names == ("ä — 走る", "b")


@pytest.mark.parametrize(("raw", "seen", "line"), REFUSED.values(), ids=REFUSED)
def test_other_encodings_are_named_with_the_line_and_the_fix(
    raw: bytes, seen: str, line: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(raw)
    words = rf"a\.toml, line {line}: .*seems to be {seen}.*save it as UTF-8.*iconv -f"
    for read in (read_text, read_toml, read_json):
        with pytest.raises(TextFileError, match=words):
            read(path)
    for load in (config.load, plan.load):
        with pytest.raises(ConfigError, match=words):
            load(path)
    with pytest.raises(FedTinyError, match=words):
        catalog(str(path))


def test_the_advice_is_right(tmp_path: Path) -> None:
    with pytest.raises(TextFileError) as caught:
        decode(LATIN.encode("latin1"), "a.toml")
    codec = str(caught.value).split("-f ")[1].split()[0]
    assert LATIN.encode("latin1").decode(codec) == LATIN


@pytest.mark.parametrize(
    "raw", [b"x = " + b"9" * 5000, b"x = " + b"[" * 9000, b"x = 1\ny", b"x = 2026-99-99\n"]
)
def test_what_is_no_toml_is_our_error(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"a\.toml is not valid TOML"):
        config.load(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.toml", Path("a\0b")):
        with pytest.raises(TextFileError, match="cannot read config"):
            read_text(path, "config")


def test_a_pipe_is_read(tmp_path: Path) -> None:
    """As in ``--config <(make_config)``."""
    ends = os.pipe()
    with os.fdopen(ends[1], "wb") as pipe:
        pipe.write(TEXT.encode())
    try:
        assert config.load(Path(f"/dev/fd/{ends[0]}")).data.label_names == ("ä — 走る", "b")
    finally:
        os.close(ends[0])


LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0"},
    {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"},
]


@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_what_is_written_and_read_does_not_depend_on_the_locale(
    locale: dict[str, str], tmp_path: Path
) -> None:
    source = tmp_path / "a.toml"
    source.write_bytes(TEXT.encode())
    code = (
        "import sys; from pathlib import Path; from fedtiny import config; "
        "from fedtiny.runs.folder import RunFolder; "
        "RunFolder(Path(sys.argv[2])).create(config.load(Path(sys.argv[1])))"
    )
    folder = tmp_path / "run"
    subprocess.run(
        [sys.executable, "-c", code, str(source), str(folder)],
        env=os.environ | locale,
        cwd=ROOT,
        check=True,
    )
    assert RunFolder(folder).load_config().data.label_names == ("ä — 走る", "b")
    assert RunFolder(folder).config.read_bytes() == config.dump(config.load(source)).encode()
    assert config.dump(RunConfig()).isascii()


@pytest.mark.parametrize(("raw", "seen", "line"), REFUSED.values(), ids=REFUSED)
def test_tables_of_other_encodings_are_named(
    raw: bytes, seen: str, line: int, tmp_path: Path
) -> None:
    path = tmp_path / "mnist_train.csv"
    path.write_bytes(raw)
    (tmp_path / "mnist_test.csv").write_bytes(raw)
    with pytest.raises(DataError, match=rf"train\.csv, line {line}: .*seems to be {seen}"):
        read_csv_directory(tmp_path, ())


ROW = "3," + ",".join(["7"] * 784) + "\n"


@pytest.mark.parametrize(
    "header", ["", "label" + ",pixel" * 784 + "\n", "größe" + "," * 784 + "\n"]
)
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_no_row_of_a_table_is_lost(header: str, codec: str, quote: str, tmp_path: Path) -> None:
    rows = ROW.replace("3,", f"{quote}3{quote},") * 2
    for part in ("train", "test"):
        (tmp_path / f"mnist_{part}.CSV").write_text(header + rows, encoding=codec)
        (tmp_path / f"._mnist_{part}.csv").write_bytes(b"\0\5\x16\7")
    train, test = read_csv_directory(tmp_path, ())
    assert train.y.tolist() == test.y.tolist() == [3, 3]
    assert (train.x == 7).all()


@pytest.mark.parametrize("first", ["-1", "#3", "256", "3.7", "nan", "1e2", "٣", "2147483648"])
def test_a_first_row_that_is_wrong_is_no_header(first: str, tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"mnist_{part}.csv").write_text(
            ROW.replace("3,", first + ",", 1) + ROW, encoding="utf-8"
        )
    with pytest.raises(DataError, match=r"train\.csv: .*row 0, column 1"):
        read_csv_directory(tmp_path, ())
