"""A bundle in places and hands it was not made for: folders, environments, wrong arguments."""

import os
import shutil
import subprocess
from dataclasses import replace

import pytest
from elftools.elf.elffile import ELFFile

from fedtiny.bench import synthetic
from fedtiny.boards import kernels, qemu
from fedtiny.export.project import write_project
from fedtiny.firmware.lower import lower
from fedtiny.firmware.vectors import vector_file
from fedtiny.models import ds_cnn

WRONG_CALLS = """
#include <stddef.h>
#include "gesture.h"
#if defined(FEDTINY_BOARD)
#include "board.h"
#define PRINT(text) board_print(text)
#else
#include <stdio.h>
#define PRINT(text) fputs(text, stdout)
int main(void);
#endif

static int8_t memory[GESTURE_ARENA_BYTES + 1] __attribute__((aligned(GESTURE_ARENA_ALIGNMENT)));
static int16_t counts[GESTURE_INPUT_VALUES + 1];

static int wrong;

static void expect(int32_t status, int32_t expected)
{
    wrong += status != expected;
}

int main(void)
{
    int8_t *const odd = memory + 1;
    int16_t *const odd_counts = (int16_t *)(void *)((char *)counts + 1);
    expect(gesture_invoke(NULL), GESTURE_BAD_ARENA);
    expect(gesture_invoke(odd), GESTURE_BAD_ARENA);
    expect(gesture_classify(counts, NULL), GESTURE_BAD_ARENA);
    expect(gesture_classify(counts, odd), GESTURE_BAD_ARENA);
    expect(gesture_run_step(0, NULL), GESTURE_BAD_ARENA);
    expect(gesture_run_step(0, odd), GESTURE_BAD_ARENA);
    expect(gesture_run_step(-1, memory), GESTURE_BAD_ARGUMENT);
    expect(gesture_run_step(GESTURE_STEPS, memory), GESTURE_BAD_ARGUMENT);
    expect(gesture_classify(NULL, memory), GESTURE_BAD_ARGUMENT);
    expect(gesture_classify(odd_counts, memory), GESTURE_BAD_ARGUMENT);
    expect(gesture_quantize_input(NULL, memory), GESTURE_BAD_ARGUMENT);
    expect(gesture_quantize_input(counts, NULL), GESTURE_BAD_ARGUMENT);
    expect(gesture_input(NULL) == NULL && gesture_output(NULL) == NULL, 1);
    for (size_t i = 0; i < sizeof memory; i++) {
        wrong += memory[i] != 0;
    }
    PRINT(wrong == 0 ? "all refused, nothing written\\n" : "WRONG\\n");
    return 0;
}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Without objects."""
    model = synthetic.integer_model(ds_cnn((1, 13, 10), 4), 0.2)
    interface = replace(synthetic.interface(model), prefix="gesture")
    directory = tmp_path_factory.mktemp("robust") / "firmware"
    write_project(
        directory, lower(model), vector_file(model, synthetic.counts(model, 3)), interface
    )
    return directory


@pytest.fixture(scope="module")
def objects(project, tmp_path_factory):
    """Of the model and the runtime, from a folder with a hostile name."""
    directory = tmp_path_factory.mktemp("odd") / "fw [v2] $x #1 'q' \"h\" ;é\\ %"
    shutil.copytree(project, directory)
    done = make(directory, "check", "CFLAGS=-O0")
    assert "3 vectors, 0 mismatches" in done.stdout
    return sorted(p for p in (directory / "build").rglob("*.o") if p.name != "main.o")


def make(directory, *arguments, env=None, status=0):
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=directory,
        env=os.environ | (env or {}),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    "environment",
    [
        {"BUILD": "release"},
        {"CC": "no-such-compiler", "CFLAGS": "--no-such-flag"},
        {"STRICT": "--no-such-flag", "INCLUDES": "", "HEADERS": "nowhere.h"},
        {"OBJECTS": "", "MODEL": "", "RUNTIME": "", "ASSEMBLY": "x.S"},
        {"MAKEFLAGS": "e", "BUILD": "release", "OBJECTS": "", "CC": "false", "CFLAGS": "-x"},
        {"LDFLAGS": "-x", "CPPFLAGS": "-x", "TARGET_ARCH": "-x", "OUTPUT_OPTION": "-x"},
    ],
    ids=lambda environment: "-".join(environment),
)
def test_make_takes_nothing_from_the_environment(project, environment):
    plain = make(project, "-n", "objects").stdout
    assert "cc -std=c99" in plain
    assert "-O2 -I. -Ifedtiny_nn/include -c -o build/model.o model.c" in plain
    assert make(project, "-n", "objects", env=environment).stdout == plain


def test_headers_on_the_environment_s_path_are_not_read(project, tmp_path):
    (tmp_path / "stdint.h").write_text("#error poisoned\n", encoding="utf-8")
    build = f"BUILD={tmp_path / 'build'}"
    for name in ("CPATH", "C_INCLUDE_PATH"):
        target = f"{tmp_path / 'build'}/model_weights.o"
        make(project, build, "-B", target, env={name: str(tmp_path)})


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("CC=no-such-compiler -m32", 'CC = "no-such-compiler -m32" is no program on the PATH'),
        ("CC=", 'CC = "" is no program'),
        ("BUILD=", 'BUILD = "" has to be one folder'),
        ("BUILD=a b", 'BUILD = "a b" has to be one folder'),
    ],
)
def test_a_wrong_variable_is_one_sentence(project, argument, words):
    done = make(project, argument, "objects", status=2)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.parametrize("name", ["a#b", "a;b", "a[b", "a]b", 'a"b'])
def test_a_folder_that_cmake_cannot_build_in_is_one_sentence(project, tmp_path, name):
    shutil.copytree(project, tmp_path / name)
    done = subprocess.run(
        ["cmake", "-S", tmp_path / name, "-B", tmp_path / "out"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode != 0
    assert "CMake cannot build in" in done.stderr


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_builds_in_a_folder_with_brackets_blanks_and_dollars(project, tmp_path):
    directory = tmp_path / "fw [v2] $x 'q' {é}"
    shutil.copytree(project, directory)
    for command in (["-S", directory, "-B", "out"], ["--build", "out", "-j2"]):
        subprocess.run(["cmake", *command], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [tmp_path / "out" / "self_test", directory / "vectors.bin"],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.stdout == "3 vectors, 0 mismatches\n"


def global_symbols(objects):
    """Names that the objects define for others."""
    found = set()
    for path in objects:
        with path.open("rb") as stream:
            table = ELFFile(stream).get_section_by_name(".symtab")
            for symbol in () if table is None else table.iter_symbols():
                if symbol["st_info"]["bind"] != "STB_LOCAL" and symbol["st_shndx"] != "SHN_UNDEF":
                    found.add(symbol.name)
    return found


def test_every_global_symbol_begins_with_the_prefix_or_fedtiny(objects):
    found = global_symbols(objects)
    assert {"gesture_classify", "gesture_labels", "fedtiny_dense_convolve_wrapper_s8"} <= found
    assert {name for name in found if not name.startswith(("fedtiny_", "gesture_"))} == set()


def test_wrong_arguments_are_refused_by_name_before_anything_is_written(project, objects, tmp_path):
    (tmp_path / "wrong.c").write_text(WRONG_CALLS, encoding="utf-8")
    flags = ("-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{project}", "-o", "wrong")
    subprocess.run(["gcc", *flags, "wrong.c", *map(str, objects)], cwd=tmp_path, check=True)
    done = subprocess.run(["./wrong"], cwd=tmp_path, check=True, capture_output=True)
    assert done.stdout == b"all refused, nothing written\n"


@pytest.mark.firmware
@pytest.mark.parametrize("machine", ["qemu-m0", "qemu-m4", "qemu-m55"])
def test_boards_refuse_them_too(project, machine, tmp_path):
    target = qemu.machine(machine)
    compiled = kernels.compile_portable(target, tmp_path / "kernels", project / "fedtiny_nn")
    assert all(name.startswith("fedtiny_") for name in global_symbols(compiled.objects))
    (tmp_path / "wrong.c").write_text(WRONG_CALLS, encoding="utf-8")
    sources = (tmp_path / "wrong.c", project / "model.c", project / "model_weights.c")
    program = qemu.build(
        target,
        [*sources, *compiled.objects],
        tmp_path,
        include=(project, *compiled.include),
        flags=("-std=gnu99", "-DFEDTINY_BOARD"),
    )
    assert qemu.run(target, program, tmp_path) == "all refused, nothing written\n"
