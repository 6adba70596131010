"""The exported project as other build systems see it: every file named exists and compiles."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from fedtiny.bench import synthetic
from fedtiny.export import bundle
from fedtiny.firmware.lower import lower
from fedtiny.models import resnet8

ARDUINO_STUB = """
#include <stdint.h>
struct { void begin(long) {} void println(const char *) {} } Serial;
static inline void delay(int) {}
"""

ZEPHYR_STUB = """
#define K_SECONDS(s) (s)
static inline void k_sleep(int s) { (void)s; }
int printk(const char *format, ...);
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    model = synthetic.integer_model(resnet8((1, 12, 12), 4), 0.1)
    directory = tmp_path_factory.mktemp("bundle") / "firmware"
    bundle.export(lower(model), directory, synthetic.counts(model, 2), synthetic.interface(model))
    return directory


def run(*command, cwd):
    return subprocess.run(
        list(map(str, command)), cwd=cwd, check=True, capture_output=True, encoding="utf-8"
    ).stdout


def test_pack_names_every_source_and_they_exist(project):
    pack = ElementTree.parse(project / "FedTiny.fedtiny_model.pdsc")
    names = {file.get("name") for file in pack.iter("file")}
    assert all((project / name).exists() for name in names)
    sources = {
        p.relative_to(project).as_posix()
        for p in project.rglob("*.[cS]")
        if p.name != "main.c" and "examples" not in p.parts and "build" not in p.parts
    }
    assert sources <= names


def test_platformio_library_is_valid_and_builds_the_model_only(project):
    library = json.loads((project / "library.json").read_text(encoding="utf-8"))
    assert library["headers"] == "model.h"
    assert (project / library["build"]["includeDir"] / "fedtiny_nn.h").exists()
    assert library["build"]["srcFilter"][0] == "-<*>"


def test_arduino_example_is_cpp_that_compiles(project, tmp_path):
    (tmp_path / "Arduino.h").write_text(ARDUINO_STUB, encoding="utf-8")
    example = project / "examples" / "arduino" / "src" / "main.cpp"
    flags = ("-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{tmp_path}", f"-I{project}")
    run("g++", *flags, example, cwd=tmp_path)


def test_zephyr_example_compiles_and_its_module_names_existing_files(project, tmp_path):
    (tmp_path / "zephyr" / "sys").mkdir(parents=True)
    (tmp_path / "zephyr" / "kernel.h").write_text(ZEPHYR_STUB, encoding="utf-8")
    (tmp_path / "zephyr" / "sys" / "printk.h").write_text("", encoding="utf-8")
    example = project / "examples" / "zephyr" / "src" / "main.c"
    flags = ("-std=gnu99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only")
    run("gcc", *flags, f"-I{tmp_path}", f"-I{project}", example, cwd=tmp_path)
    module = (project / "zephyr" / "module.yml").read_text(encoding="utf-8")
    assert "cmake: zephyr" in module
    assert "kconfig: zephyr/Kconfig" in module


def test_linking_is_free_of_warnings(project):
    run("make", "clean", cwd=project)
    done = subprocess.run(
        ["make", "check"], cwd=project, check=True, capture_output=True, encoding="utf-8"
    )
    assert "warning" not in done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("cppcheck") is None, reason="cppcheck is not installed")
def test_cppcheck_finds_nothing(project):
    checks = ("--enable=warning,performance,portability", "--error-exitcode=1", "--inline-suppr")
    include = ("-I.", "-Ifedtiny_nn/include")
    run("cppcheck", *checks, "--std=c99", *include, "-q", ".", "-i", "examples", cwd=project)


@pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"
)
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", "cortex-m55"])
def test_objects_compile_for_a_microcontroller_at_full_strictness(project, core):
    flags = f"CFLAGS=-mthumb -mcpu={core} -O3"
    build = f"BUILD=build/{core}"
    run("make", "CC=arm-none-eabi-gcc", flags, build, "objects", cwd=project)
