"""What is installed: pinned dependencies, a base that stands alone, the wheel, the Flower app."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fedtiny"
BEFORE_THE_APP = [ROOT / "clients/__init__.py", ROOT / "clients/executor.py"]
"""Of the app, what a device needs to fetch it."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMPILED = {".so", ".pyc"}

NEEDS_EXTRA = [
    "clients.executor",
    "fedtiny.adapt.exporting",
    "fedtiny.bench",
    "fedtiny.boards",
    "fedtiny.codecs.emulated",
    "fedtiny.codecs.exporting",
    "fedtiny.codecs.server",
    "fedtiny.doctor.learning",
    "fedtiny.doctor.ops",
    "fedtiny.export",
    "fedtiny.firmware",
    "fedtiny.importing.given_scales",
    "fedtiny.importing.pt2e_program",
    "fedtiny.importing.pt2e_source",
    "fedtiny.importing.torch_module",
    "fedtiny.learn",
    "fedtiny.models.from_torch",
    "fedtiny.models.torch_module",
    "fedtiny.models.torch_ops",
    "fedtiny.node",
    "fedtiny.pruning.synflow",
    "fedtiny.report",
    "fedtiny.training.masked.meter",
    "fedtiny.training.masked.trainer",
]
"""Modules, and packages with modules, that do not import with the base dependencies alone."""


def run_python(python, code, *arguments, cwd):
    command = [python, "-I", "-c", code, *arguments]
    result = subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def module_name(path):
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_of_checkout():
    paths = [*PACKAGE.rglob("*.py"), *BEFORE_THE_APP]
    return sorted(module_name(path.relative_to(ROOT)) for path in paths)


def requirements(*extras):
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][e] for e in extras)]
    return [Requirement(line) for group in lists for line in group]


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_constraints_are_exact_public_pins():
    for pin in pins():
        assert re.fullmatch(r"==[\w.!]+", str(pin.specifier)), f"{pin} is not an exact pin"
        assert pin.url is None


def test_every_requirement_is_pinned_within_its_range():
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins()}
    for requirement in requirements(*PROJECT["optional-dependencies"]):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is missing from constraints.txt"
        assert requirement.specifier.contains(Version(version), prereleases=True), requirement


def base_distributions():
    """Names of the base requirements and everything they require in turn."""
    found, queue = set(), requirements()
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in found or not (requirement.marker is None or requirement.marker.evaluate()):
            continue
        found.add(name)
        queue += [Requirement(line) for line in metadata.requires(name) or []]
    return found


IMPORT_WITH_BASE_ONLY = """
import importlib, json, sys
refused, modules = json.loads(sys.argv[1]), json.loads(sys.argv[2])

class OnlyBase:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is not a base dependency", name=name)

sys.meta_path.insert(0, OnlyBase())
failed = {}
for module in modules:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        failed[module] = str(error)
print(json.dumps(failed))
"""


def test_modules_import_with_base_dependencies_alone(tmp_path):
    base = base_distributions()
    refused = [
        top
        for top, owners in metadata.packages_distributions().items()
        if not any(canonicalize_name(owner) in base | {"fedtiny"} for owner in owners)
    ]
    assert {"torch", "flwr", "ray", "pandas", "matplotlib", "jinja2", "elftools"} < set(refused)
    failed = run_python(
        sys.executable,
        IMPORT_WITH_BASE_ONLY,
        json.dumps(refused),
        json.dumps(modules_of_checkout()),
        cwd=tmp_path,
    )
    listed = {name: [n for n in failed if f"{n}.".startswith(f"{name}.")] for name in NEEDS_EXTRA}
    for name, found in listed.items():
        assert found, f"{name} imports with base alone: take it off NEEDS_EXTRA"
        for module in found:
            del failed[module]
    assert not failed, f"import the extra inside a function, or add to NEEDS_EXTRA: {failed}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stderr + result.stdout
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_package_the_executor_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licenses = {name for name in archive.namelist() if "/licenses/" in name}
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in [*PACKAGE.rglob("*"), *BEFORE_THE_APP]
        if path.is_file() and path.suffix not in COMPILED
    }
    assert {name for name in names if Path(name).suffix not in COMPILED} == ours
    assert {Path(name).name for name in licenses} == {"LICENSE", "NOTICE"}


@pytest.mark.parametrize(
    "name",
    [
        "fedtiny/py.typed",
        "fedtiny/data/watch/LICENSE",
        "fedtiny/data/watch/watch.json",
        "fedtiny/data/watch/watch.npz",
        "fedtiny/devices/catalog.toml",
        "fedtiny/engine/src/kernels.cpp",
        "fedtiny/firmware/runtime/include/fedtiny_nn.h",
        "fedtiny/firmware/runtime/src/fedtiny_crc32.c",
        "fedtiny/firmware/runtime/src/learn/fedtiny_learn_forward.c",
        "fedtiny/firmware/templates/Makefile.jinja",
    ],
)
def test_wheel_carries_data(wheel, name):
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo(name).file_size or name.endswith("py.typed")


@pytest.fixture(scope="module")
def clean_python(wheel, tmp_path_factory):
    """A new environment with the wheel, its dependencies seen in this environment."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "-qqq", "--python", python, "install", "--no-deps"]
    subprocess.run([*install, "--no-index", wheel], check=True)
    # A plain .pth line appends the folder but reads no .pth inside it: the editable fedtiny of
    # this environment stays out of sight.
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


IMPORT_FROM = """
import importlib, importlib.util, json, sys
files = {name: importlib.import_module(name).__file__ for name in json.loads(sys.argv[1])}
shells = [n for n in ("clients.app", "sims", "strategies") if importlib.util.find_spec(n)]
print(json.dumps([files, shells]))
"""


def test_wheel_imports_from_a_clean_environment(wheel, clean_python, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        sources = [Path(name) for name in archive.namelist() if name.endswith(".py")]
    modules = sorted(module_name(path) for path in sources)
    assert modules == modules_of_checkout()
    files, shells = run_python(clean_python, IMPORT_FROM, json.dumps(modules), cwd=tmp_path)
    home = clean_python.parents[1]
    assert all(Path(file).is_relative_to(home) for file in files.values()), files
    assert shells == []


def test_wheel_installs_the_command(clean_python):
    command = clean_python.with_name("fedtiny")
    result = subprocess.run([command, "--help"], capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stderr
    assert "doctor" in result.stdout


def test_flower_app_bundle_holds_the_shells_and_nothing_else(flower_app, tmp_path):
    quiet = {"FLWR_HOME": str(tmp_path), "FLWR_TELEMETRY_ENABLED": "0"}
    quiet["FLWR_DISABLE_UPDATE_CHECK"] = "1"
    flwr = Path(sys.executable).with_name("flwr")
    command = [flwr, "build", "--app", flower_app]
    environment = os.environ | quiet
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stderr
    (bundle,) = tmp_path.glob("*.fab")
    with zipfile.ZipFile(bundle) as archive:
        names = {name for name in archive.namelist() if "/" in name and not name.startswith(".")}
    shells = [ROOT / name for name in ("clients", "sims", "strategies")]
    files = {path for shell in shells for path in shell.rglob("*.py")}
    files |= set((ROOT / "sims" / "configs").rglob("*.toml"))
    assert names == {path.relative_to(ROOT).as_posix() for path in files}
