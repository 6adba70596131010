"""A prefix per model: several models link into one program and run; which prefixes there can be."""

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.bench import synthetic
from fedtiny.config import parse
from fedtiny.escaping.c_prefix import PrefixError, check_prefix, prefix_of
from fedtiny.export.project import write_project
from fedtiny.firmware.emit import FUNCTIONS, MACROS, NAMES
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.lower import lower
from fedtiny.firmware.vectors import vector_file
from fedtiny.models import ds_cnn, smartwatch_cnn
from fedtiny.settings import ConfigError

MODELS = {"watch": smartwatch_cnn((6, 1, 32), 3), "watch_2": ds_cnn((1, 13, 10), 4)}
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1")

BOTH = """
#include "watch.h"
#include "watch_2.h"
#include <stdio.h>

int watch_main(int argc, char **argv);
int watch_2_main(int argc, char **argv);

int main(int argc, char **argv)
{
    if (argc != 3 || watch_main(2, argv) != 0 || watch_2_main(2, argv + 1) != 0) {
        return 1;
    }
    printf("%s of %d, ", watch_labels[0], WATCH_CLASSES);
    printf("%s of %d\\n", watch_2_labels[0], WATCH_2_CLASSES);
    return 0;
}
"""

CMAKE = """
cmake_minimum_required(VERSION 3.21)
project(both C ASM)
add_subdirectory(watch)
add_subdirectory(watch_2)
add_executable(both both.c watch/main.c watch_2/main.c)
set_source_files_properties(watch/main.c PROPERTIES COMPILE_DEFINITIONS main=watch_main)
set_source_files_properties(watch_2/main.c PROPERTIES COMPILE_DEFINITIONS main=watch_2_main)
target_link_libraries(both fedtiny_model_watch fedtiny_model_watch_2)
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two models' projects beside a program that uses both."""
    directory = tmp_path_factory.mktemp("both")
    for prefix, graph in MODELS.items():
        model = synthetic.integer_model(graph, 0.2)
        names = SensorInterface.numbered(model, "counts")
        interface = SensorInterface(names.labels, names.channels, names.units, prefix)
        vectors = vector_file(model, synthetic.counts(model, 5))
        write_project(directory / prefix, lower(model), vectors, interface)
    (directory / "both.c").write_text(BOTH, encoding="utf-8")
    (directory / "CMakeLists.txt").write_text(CMAKE, encoding="utf-8")
    return directory


def run(*command, cwd):
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_both(program, directory):
    printed = run(program, *(directory / p / "vectors.bin" for p in MODELS), cwd=directory)
    assert printed.splitlines() == 2 * ["5 vectors, 0 mismatches"] + ["class 0 of 3, class 0 of 4"]


def compile_objects(directory, sources, *flags):
    directory.mkdir()
    run("gcc", *STRICT, *flags, "-c", *sources, cwd=directory)
    return sorted(directory.glob("*.o"))


@pytest.fixture(scope="module")
def objects(both):
    """Each model's code compiled in its own folder, and one runtime."""
    include = f"-I{both / 'watch' / 'fedtiny_nn' / 'include'}"
    runtime = (both / "watch" / "fedtiny_nn" / "src").rglob("*.c")
    found = {"runtime": compile_objects(both / "runtime", runtime, include)}
    for prefix in MODELS:
        code = [both / prefix / name for name in ("model.c", "model_weights.c", "main.c")]
        flags = (include, f"-Dmain={prefix}_main")
        found[prefix] = compile_objects(both / f"{prefix}_objects", code, *flags)
    return found


def test_two_models_and_one_runtime_run_in_one_program(both, objects):
    include = [f"-I{both / prefix}" for prefix in MODELS]
    everything = [file for files in objects.values() for file in files]
    run("gcc", *STRICT, *include, "both.c", *everything, "-o", "both", cwd=both)
    run_both(both / "both", both)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_two_models_are_subdirectories_of_one_cmake_project(both, tmp_path):
    run("cmake", "-S", both, "-B", tmp_path, cwd=both)
    run("cmake", "--build", tmp_path, cwd=both)
    run_both(tmp_path / "both", both)


def test_generic_names_stand_for_every_prefixed_one(both):
    declared = set(
        re.findall(
            r"\bwatch_(\w+)(?=[\[(])", (both / "watch" / "watch.h").read_text(encoding="utf-8")
        )
    )
    defined = set(
        re.findall(
            r"#define WATCH_(\w+)[ (]", (both / "watch" / "watch.h").read_text(encoding="utf-8")
        )
    )
    assert declared == {*FUNCTIONS, *NAMES}
    assert defined == set(MACROS)
    generic = (both / "watch" / "model.h").read_text(encoding="utf-8")
    assert set(re.findall(r"#define model_(\w+) watch_\1\n", generic)) == declared
    assert set(re.findall(r"#define MODEL_(\w+) WATCH_\1\n", generic)) == defined


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("", "letter first"),
        ("2nd", "letter first"),
        ("a-b", "letter first"),
        ("_a", "letter first"),
        ("a_", "letter first"),
        ("a__b", "letter first"),
        ("größe", "letter first"),
        ("a\n", "letter first"),
        ("int", "keyword"),
        ("class", "keyword"),
        ("string", "hide the header string.h"),
        ("Time", "hide the header"),
        ("model_weights", "hide the header"),
        ("fedtiny_nn", "kernels"),
        ("a" * 33, "33 characters"),
    ],
)
def test_prefixes_that_cannot_be_are_refused(prefix, words):
    with pytest.raises(PrefixError, match=words):
        check_prefix(prefix)
    if prefix:
        with pytest.raises(ConfigError, match=r"export\.prefix"):
            parse({"export": {"prefix": prefix}})


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("demo", "demo"),
        ("b28-b", "b28_b"),
        ("Übung 1", "Ubung_1"),
        ("5 %", "run_5"),
        ("math", "math_model"),
        ("int", "int_model"),
        ("fedtiny", "run_fedtiny"),
        ("model", "model_model"),
        ("demo/dense_reference", "demo_dense_reference"),
    ],
)
def test_a_run_s_name_becomes_a_prefix(name, prefix):
    assert prefix_of(name) == prefix


@given(st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable()))
def test_every_run_has_a_prefix(name):
    assert check_prefix(prefix_of(name))


def test_long_and_foreign_names_keep_apart():
    names = ["a" * 40 + str(i) for i in range(9)] + ["手势", "姿态", "…"]
    assert len({prefix_of(name) for name in names}) == len(names)
