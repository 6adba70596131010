"""`make install` names what a machine lacks before it downloads anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INSTALL = Path(__file__).resolve().parents[1] / ".ci" / "install"
TOOLS = ("bash", "dirname", "make", "gcc", "c++", "as")


@pytest.fixture
def machine(tmp_path):
    """A folder to be the whole PATH, with every tool the installation needs."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool))
    (tmp_path / "python3").symlink_to(sys.executable)
    return tmp_path


def refusal(machine, venv):
    command = [machine / "bash", INSTALL, venv]
    environment = {"PATH": str(machine)}
    result = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=60
    )
    assert result.returncode == 1
    assert not venv.exists()
    return result.stderr


@pytest.mark.parametrize(
    ("tool", "package"),
    [("make", "make"), ("gcc", "gcc libc6-dev"), ("c++", "g++"), ("python3", "python3-venv")],
)
def test_a_missing_tool_is_named_by_its_apt_package(machine, tmp_path, tool, package):
    (machine / tool).unlink()
    message = refusal(machine, tmp_path / "venv")
    assert "apt-get install" in message
    assert message.rstrip().endswith(package)


def stub_python(machine, script):
    python = machine / "python3"
    python.unlink()
    python.write_text(f"#!{machine / 'bash'}\n{script}\n", encoding="utf-8")
    python.chmod(0o755)


def test_a_python_without_ensurepip_needs_its_venv_package(machine, tmp_path):
    stub = f'[[ $2 == *ensurepip* ]] && exit 1; exec {sys.executable} "$@"'
    stub_python(machine, stub)
    major, minor = sys.version_info[:2]
    assert f"apt-get install python{major}.{minor}-venv" in refusal(machine, tmp_path / "venv")


def test_an_old_python_is_refused(machine, tmp_path):
    stub_python(machine, '[[ $1 == --version ]] && echo "Python 3.10.4" && exit; exit 1')
    assert "Python 3.10.4 is too old" in refusal(machine, tmp_path / "venv")
