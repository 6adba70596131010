"""Hostile names in a bundle: it compiles and parses, and what is read there is what was written."""

import json
import re
import shutil
import subprocess
import xml.dom.minidom
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fedtiny.bench import synthetic
from fedtiny.errors import FedTinyError
from fedtiny.escaping.c import c_comment
from fedtiny.escaping.cmake import cmake_text
from fedtiny.escaping.kconfig import kconfig_text
from fedtiny.escaping.make import make_text
from fedtiny.firmware.emit import packaging, sources
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.lower import lower
from fedtiny.firmware.render import render
from fedtiny.models import smartwatch_cnn

TEMPLATES = Path(__file__).parents[1] / "fedtiny" / "firmware" / "templates"
RUNTIME = TEMPLATES.parent / "runtime"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wbidi-chars=any", "-Werror", "-Wtrigraphs")

HOSTILE = [
    *("*/", "/*", "//", "a *", "/ b", "??/", "??", "\\", "\\\\n", '"', "'", "a\\"),
    *("%", "%s%n", "$", "$$", "$(shell touch x)", "${HOME}", "#", "#define", "@x@", ";", ","),
    *("]", "[", "]]>", "<&>", "&amp;", "_", "__", "{{ x }}", "{% if %}", "|", "`"),
    *("\ufeffBOM", "ü", "m/s²", "手势", "🙂", "\u202eabc", "\u2066x", "שלום", "a\u0301", "\u00a0"),
    *("<U+202E>", 'R"(', 'u8"', "\\u0041", "-", " ", "  two  blanks ", "x" * 200),
]


names = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE[:-1]), min_size=2, max_size=4).map("".join),
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=20),
)
few = settings(max_examples=2, deadline=None, phases=[Phase.generate])  # compilers are slow

MODEL = synthetic.integer_model(smartwatch_cnn((20, 1, 16), 40), 0.2)
PLAN = lower(MODEL)

PRINT = """
#include <stdio.h>
#include "model.h"
int main(void)
{
    for (int i = 0; i < MODEL_CLASSES; i++) {
        printf("%s%c", model_labels[i], 0);
    }
    for (int i = 0; i < MODEL_INPUT_CHANNELS; i++) {
        printf("%s%c%s%c", model_channels[i], 0, model_units[i], 0);
    }
    return 0;
}
"""


def run(*command, cwd):
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done


def write(directory, texts):
    for name, text in texts.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")


def build_and_print(directory):
    """What a program prints of the model's names; kernels are left out: it calls none."""
    (directory / "print.c").write_text(PRINT, encoding="utf-8")
    include = f"-I{RUNTIME / 'include'}"
    run("gcc", *STRICT, include, "-fsyntax-only", "main.c", "model_weights.c", cwd=directory)
    linked = ("print.c", "model.c", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")
    run("gcc", *STRICT, include, *linked, "-o", "print", cwd=directory)
    return run("./print", cwd=directory).stdout.decode("utf-8").split("\0")[:-1]


def compile_examples(directory):
    zephyr = "#define K_SECONDS(s) (s)\nvoid k_sleep(int s);\nint printk(const char *f, ...);\n"
    arduino = (
        "#include <stdint.h>\n"
        "struct { void begin(long) {} void println(const char *) {} } Serial;\n"
        "inline void delay(int) {}\n"
    )
    stubs = {"zephyr/kernel.h": zephyr, "zephyr/sys/printk.h": "", "Arduino.h": arduino}
    write(directory / "stubs", stubs)
    flags = ("-Wall", "-Wextra", "-Wbidi-chars=any", "-Werror", "-fsyntax-only", "-Istubs", "-I.")
    run("gcc", *flags, "examples/zephyr/src/main.c", cwd=directory)
    run("g++", *flags, "examples/arduino/src/main.cpp", cwd=directory)


@few
@given(
    texts=st.lists(names, min_size=80, max_size=80),
    model_name=names,
)
def test_names_are_printed_as_they_were_written(tmp_path_factory, texts, model_name):
    labels, channels, units = texts[:40], texts[40:60], texts[60:]
    directory = tmp_path_factory.mktemp("hostile")
    interface = SensorInterface(tuple(labels), tuple(channels), tuple(units), "gesture")
    plan = replace(PLAN, model=replace(MODEL, name=model_name))
    texts = sources(plan, interface) | packaging(plan, interface, ["fedtiny_nn/src/a.c"])
    write(directory, texts)
    pairs = [text for pair in zip(channels, units, strict=True) for text in pair]
    assert build_and_print(directory) == [*labels, *pairs]
    compile_examples(directory)
    assert json.loads(texts["library.json"])["description"].startswith(f"{model_name}: int8")
    pack = xml.dom.minidom.parseString(texts["FedTiny.fedtiny_model_gesture.pdsc"].encode())
    described = pack.getElementsByTagName("description")[0].firstChild.data
    if max(model_name) >= "\x7f":  # XML has no other way to write some controls than to name them
        assert described.endswith(": int8 model with sparse kernels")
    else:
        assert described == f"{model_name}: int8 model with sparse kernels"
    shown = re.search(r'bool "((?:[^"\\]|\\.)*)"$', texts["zephyr/Kconfig"], re.MULTILINE)
    assert re.sub(r"\\(.)", r"\1", shown[1]).startswith(model_name)
    run("make", "-n", "clean", cwd=directory)


@few
@given(texts=st.lists(names, min_size=60, max_size=60))
def test_make_shows_values_as_they_were_written(tmp_path_factory, texts):
    directory = tmp_path_factory.mktemp("make")
    lines = [f"# {make_text(text)}\nV := |{make_text(text)}|\n$(info $(V))\n" for text in texts]
    (directory / "Makefile").write_text("".join(lines) + "all:;@:\n", encoding="utf-8")
    shown = run("make", cwd=directory).stdout.decode("utf-8").splitlines()
    assert len(shown) == len(texts)
    for line, text in zip(shown, texts, strict=True):
        assert line in (f"|{text}|", f"|{text} |")  # a backslash at the end has a blank behind it


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@few
@given(texts=st.lists(names, min_size=60, max_size=60))
def test_cmake_shows_strings_as_they_were_written(tmp_path_factory, texts):
    directory = tmp_path_factory.mktemp("cmake")
    lines = [f'# {cmake_text(text)}\nmessage("|{cmake_text(text)}|")\n' for text in texts]
    (directory / "x.cmake").write_text("".join(lines), encoding="utf-8")
    done = run("cmake", "-P", "x.cmake", cwd=directory)
    assert done.stderr.decode("utf-8").splitlines() == [f"|{text}|" for text in texts]


@given(names)
def test_no_comment_ends_early_or_hides_anything(text):
    comment = c_comment(text)
    assert "*/" not in comment
    assert "/*" not in comment
    assert "??" not in comment
    assert not comment.endswith(("\\", "*"))
    assert comment.isprintable() or "\u00a0" in comment or " " in comment


@given(names)
def test_kconfig_has_no_macro_and_no_end_of_string(text):
    assert not re.search(r'(?<!\\)(\\\\)*["$]', kconfig_text(text))


@pytest.mark.parametrize("field", ["labels", "channels", "units"])
@pytest.mark.parametrize("name", ["a\nb", "\udce9", "\x1b[31m", "", "a\u2028b", "tab\t"])
def test_text_that_no_language_shows_is_refused_before_anything_is_written(field, name):
    interface = SensorInterface.numbered(MODEL, "counts")
    changed = (name, *getattr(interface, field)[1:])
    with pytest.raises(FedTinyError, match=rf"{field}\[0\]"):
        sources(PLAN, replace(interface, **{field: changed}))


def test_no_c_template_writes_a_value_between_quotes():
    """Free text becomes a literal by its filter; between quotes it would be a comment's text."""
    for path in TEMPLATES.rglob("*.jinja"):
        if path.suffixes[0] in (".c", ".h", ".cpp"):
            code = path.read_text(encoding="utf-8")
            quoted = re.findall(
                r'"[^"{}\n]*\{\{ (?!p \}\}(?:_learn)?\.h)[^"\n]*\}\}[^"{}\n]*"', code
            )
            assert not quoted, (path, quoted)


def test_a_template_of_an_unknown_language_writes_no_free_text(monkeypatch):
    from fedtiny.firmware import render as module

    name = "examples/arduino/platformio.ini"
    assert "[env:" in render(name, {})
    monkeypatch.setitem(module.LANGUAGES, ".x", module.LANGUAGES[".c"])
    with pytest.raises(TypeError, match="no escaping function"):
        module._escaping(module._refuse)("free text")
