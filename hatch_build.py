"""Wheel build hook: compiles the sparse engine where there is a C++ compiler.

Without one the wheel is pure Python and ``fedtiny.engine.available()`` is False.
"""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = Path("fedtiny") / "engine"


class EngineBuildHook(BuildHookInterface[Any]):
    """Adds the compiled library to the wheel and marks the wheel with its platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile before the wheel's files are collected."""
        builder = _load(Path(self.root) / ENGINE / "build.py")
        try:
            library = builder.built()
        except builder.BuildError as error:
            self.app.display_warning(f"sparse engine not compiled: {error}")
            return
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append((ENGINE / library.name).as_posix())


def _load(path: Path) -> Any:  # noqa: ANN401 - a module loaded by its path
    # by path: importing the package would need numpy, which build isolation does not have
    spec = importlib.util.spec_from_file_location("engine_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
